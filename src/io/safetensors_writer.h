#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"

namespace gamelan::io {

/// What a tensor will look like in the file.
struct SafetensorsSpec {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
};

/// Writes a safetensors file tensor by tensor, so that only one of them needs to be in host memory,
/// byte for byte as the Python library would. The file appears atomically (io/atomic_file.h).
///
/// Not thread-safe. Destroyed before `finish` it leaves nothing behind.
class SafetensorsWriter {
 public:
  /// Plans the file and writes its header. Fails on duplicate or non-UTF-8 names, negative or
  /// overflowing shapes, and what AtomicFile fails on.
  static base::StatusOr<SafetensorsWriter> create(std::string_view path,
                                                  std::vector<SafetensorsSpec> tensors,
                                                  const SafetensorsMetadata& metadata);

  /// The tensors in the order in which `append` expects them: the wider element type first, then by
  /// name, so that every tensor is aligned.
  const std::vector<SafetensorsSpec>& order() const { return order_; }

  /// The bytes of the next tensor of `order()`, which must be called `name` and have exactly its
  /// size.
  base::Status append(std::string_view name, std::span<const std::byte> bytes);

  /// A part of the next tensor of `order()`, from its first byte on: the parts are as large
  /// together as the tensor, so that not even one tensor needs to be in memory.
  base::Status append_part(std::string_view name, std::span<const std::byte> bytes);

  /// Makes the file visible. Fails when tensors are missing.
  base::Status finish();

 private:
  explicit SafetensorsWriter(AtomicFile file) : file_(std::move(file)) {}
  base::Status check_next(std::string_view name) const;

  AtomicFile file_;
  std::vector<SafetensorsSpec> order_;
  std::size_t next_ = 0;
  std::uint64_t written_ = 0;  // bytes of order_[next_]
};

/// Writes tensors that are all in memory. The views' bytes must be contiguous and row-major.
base::Status save_safetensors(std::string_view path, std::span<const SafetensorsView> tensors,
                              const SafetensorsMetadata& metadata = {});

}  // namespace gamelan::io
