#pragma once

// Tensors from wherever they lie into a safetensors file, a band of rows at a time.

#include <functional>
#include <span>

#include "base/status.h"
#include "io/safetensors_writer.h"
#include "io/weights.h"
#include "tensor/dtype.h"

namespace gamelan::io {

/// Calls `use` with all numbers of `view` in the order of its rows. A block is some whole rows or,
/// when a row is longer than a band, a part of one; it has at most 4 Mi numbers (16 MiB), and the
/// pages behind it are let go after it. The first error ends it.
using UseBlock =
    std::function<base::Status(const WeightBlock& block, std::span<const float> numbers)>;
base::Status for_each_band(const WeightView& view, const UseBlock& use);

/// Appends `view` to `file`, whose next tensor it must be, as `dtype`: as it is when it has that
/// type already, else rounded to kF32, kF16 or kBF16. kInvalidArgument, naming file and tensor,
/// when a finite number is beyond the range of f16.
base::Status append_weight(const WeightView& view, tensor::DType dtype, SafetensorsWriter& file);

}  // namespace gamelan::io
