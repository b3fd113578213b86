#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "infer/model/step_plan.h"

namespace gamelan::infer {

/// The plan as bytes of this machine's order, for ranks of one job; `bytes` is overwritten and
/// keeps its capacity.
void encode_plan(const StepPlan& plan, std::vector<std::byte>& bytes);
/// The inverse; kDataLoss when the sizes in `bytes` do not fit it.
base::Status decode_plan(std::span<const std::byte> bytes, StepPlan& plan);

}  // namespace gamelan::infer
