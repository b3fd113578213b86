#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "device/aligned_memory.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/linear_kernels.h"

namespace gamelan::kernels::cpu {

class PackedLinear::Impl {
 public:
  std::int64_t out = 0;
  std::int64_t in = 0;
  WeightScheme scheme = WeightScheme::kF32;
  std::int64_t group_size = 0;  // kInt4
  /// Panel p holds the columns kPanel * p …; [panels][panel_bytes].
  device::AlignedBytes data;
  /// kInt8, kInt8Dynamic: [panels * kPanel] scale and sum of every output's integers.
  std::unique_ptr<float[]> scales;
  std::unique_ptr<std::int32_t[]> sums;

  std::int64_t panels() const { return (out + kPanel - 1) / kPanel; }
  /// Inputs, rounded up to what the layout groups.
  std::int64_t padded_in() const;
  std::size_t panel_bytes() const;
  TilePanel panel(std::int64_t index) const;
};

/// Bytes of an element, how many inputs of a column lie together, and what their number is rounded
/// up to: a tile register of AMX holds 64 bytes of a row. Not of kInt4.
struct SchemeLayout {
  std::size_t bytes = 4;
  std::int64_t group = 1;
  std::int64_t multiple = 1;
};
SchemeLayout layout_of(WeightScheme scheme);

}  // namespace gamelan::kernels::cpu
