#pragma once

#include <cstdint>

#include "base/status.h"
#include "infer/model/step_plan.h"
#include "io/model_config.h"

namespace gamelan::infer {

/// kInvalidArgument, saying which sequence of the plan, unless it stays within the vocabulary, the
/// positions that the model has a table for, and a cache of `blocks` blocks.
base::Status check_plan(const StepPlan& plan, const io::ModelConfig& config, std::int64_t blocks,
                        std::int64_t block_tokens);

}  // namespace gamelan::infer
