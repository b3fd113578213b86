#pragma once

// The safetensors format (docs/formats/safetensors.md): an 8-byte length, a JSON header, raw
// tensors.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "io/mapped_file.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace gamelan::io {

/// Headers longer than this are refused, as the reference library does.
inline constexpr std::uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

/// Free-form strings of the header, e.g. {"format": "pt"}.
using SafetensorsMetadata = std::map<std::string, std::string, std::less<>>;

/// One tensor of a file: contiguous, row-major, little-endian.
struct SafetensorsView {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
  /// dtype size times the product of `shape` bytes inside the mapped file. Not necessarily aligned
  /// to the element type (a foreign header may have any length): copy with memcpy.
  std::span<const std::byte> bytes;
};

/// A safetensors file opened for reading: everything is checked on opening, nothing is copied.
/// const methods are thread-safe. The views live as long as the object; moving keeps them valid.
class SafetensorsFile {
 public:
  /// Maps and checks `path`. Every error names the file and, where there is one, the tensor. A Git
  /// LFS pointer in place of the file is recognised.
  static base::StatusOr<SafetensorsFile> open(std::string_view path);

  /// The same checks over bytes in memory, which must outlive the object; `name` stands for the
  /// path in messages.
  static base::StatusOr<SafetensorsFile> parse(std::span<const std::byte> bytes,
                                               std::string_view name);

  /// Every tensor, in the order of the data.
  const std::vector<SafetensorsView>& tensors() const { return tensors_; }
  /// nullptr when there is no tensor of that name.
  const SafetensorsView* find(std::string_view name) const;
  /// kNotFound, with the number of tensors and some names, when there is no tensor of that name.
  base::StatusOr<SafetensorsView> get(std::string_view name) const;
  const SafetensorsMetadata& metadata() const { return metadata_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  MappedFile file_;
  std::vector<SafetensorsView> tensors_;
  std::unordered_map<std::string, std::size_t> index_;
  SafetensorsMetadata metadata_;
};

/// The format's name of a type ("F32", "BF16", "BOOL", …).
std::string_view safetensors_name_of(tensor::DType dtype);

}  // namespace gamelan::io
