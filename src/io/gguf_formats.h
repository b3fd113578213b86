#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/weights.h"

namespace gamelan::io {

/// How ggml stores the numbers of a tensor: in blocks along a row, each of so many numbers and
/// bytes.
struct GgufFormat {
  std::uint32_t id = 0;
  std::string_view name;
  std::int64_t block_size = 1;
  std::int64_t block_bytes = 4;
  /// Of plain numbers; kF32 for blocks.
  tensor::DType dtype = tensor::DType::kF32;
  /// Of blocks, the numbers of one; nullptr for plain numbers.
  void (*decode)(const std::byte* block, float* out) = nullptr;
};

/// nullptr when Gamelan does not read the type.
const GgufFormat* find_gguf_format(std::uint32_t id);
/// "Q2_K", also of types that are not read; "type 99" for what ggml has not either.
std::string gguf_format_name(std::uint32_t id);
/// "F32, F16, …": what is read.
std::string known_gguf_formats();

/// The decoder of a format of blocks, which lives as long as the program; nullptr for plain ones.
const WeightDecoder* gguf_decoder(const GgufFormat& format);

}  // namespace gamelan::io
