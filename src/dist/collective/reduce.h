#pragma once

#include <cstddef>
#include <span>

#include "base/status.h"
#include "dist/collective/process_group.h"
#include "tensor/dtype.h"

namespace gamelan::dist {

/// kInvalidArgument for a reduction that the element type does not have: the average of bools.
base::Status check_reducible(tensor::DType dtype, ReduceOp op);

/// out[i] = sources[0][i] op sources[1][i] op … op sources[n-1][i], combined from left to right for
/// every i.
///
/// Accumulates f16 and bf16 in f32 and rounds once at the end; integers wrap; bools are 0 or 1 (sum
/// and max: or, product and min: and); min and max of a NaN is NaN. kAvg is the sum times 1/n, for
/// integers the sum divided by n. `out` may be one of the sources, exactly, but may not overlap one
/// otherwise. All are aligned to the element.
void reduce_in_order(tensor::DType dtype, ReduceOp op, std::span<const std::byte* const> sources,
                     std::byte* out, std::size_t count);

}  // namespace gamelan::dist
