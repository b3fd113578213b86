#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace gamelan::tensor {

/// Where memory lives. Only the CPU exists today.
enum class DeviceType : std::uint8_t { kCpu = 0 };

struct Device {
  DeviceType type = DeviceType::kCpu;
  std::int16_t index = 0;
  bool operator==(const Device&) const = default;
};

/// A flat run of `count` elements that somebody else owns. What collectives move. Copying copies the
/// view. The memory must outlive every operation that was given the view.
struct BufferView {
  void* data = nullptr;
  std::size_t count = 0;
  DType dtype = DType::kU8;
  Device device = {};

  std::size_t size_bytes() const { return count * size_of(dtype); }
};

/// The view of `count` elements of a plain C++ array.
inline BufferView view_of(float* data, std::size_t count) { return {data, count, DType::kF32, {}}; }
inline BufferView view_of(double* data, std::size_t count) { return {data, count, DType::kF64, {}}; }
inline BufferView view_of(std::int64_t* data, std::size_t count) {
  return {data, count, DType::kI64, {}};
}
inline BufferView view_of(std::uint8_t* data, std::size_t count) {
  return {data, count, DType::kU8, {}};
}

}  // namespace gamelan::tensor
