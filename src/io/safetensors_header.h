#pragma once

// The JSON header of a safetensors file, without the tensors behind it. For io/safetensors.cc and
// io/safetensors_writer.cc.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/safetensors.h"

namespace gamelan::io {

/// A tensor as its header entry describes it: offsets count from the end of the header.
struct SafetensorsEntry {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of the header
  SafetensorsMetadata metadata;
};

/// Reads the JSON text. Checks syntax, types, duplicate names, known element types; not the
/// offsets. `file` stands in messages.
base::StatusOr<SafetensorsHeader> parse_safetensors_header(std::string_view json,
                                                           std::string_view file);

/// Bytes of a tensor; nullopt when a dimension is negative or the product does not fit in 63 bits.
std::optional<std::uint64_t> checked_size_bytes(tensor::DType dtype, const tensor::Shape& shape);

}  // namespace gamelan::io
