#pragma once

#include <memory>
#include <string_view>

#include "infer/model/causal_model.h"
#include "infer/model/load_model.h"

namespace gamelan::infer {

/// A causal model of one device, or the part of it that one rank of a parallel model holds: what
/// an implementation for another kind of device derives from (docs/inference.md). Every rank is
/// given the same calls in the same order; forward() reaches the other ranks by itself (StageLinks)
/// and leaves the logits with rank 0.
class ModelPart : public CausalModel {
 public:
  /// What forward() refuses, on every rank alike: asked on rank 0 before the others are told.
  virtual base::Status check(const StepPlan& plan) const = 0;
};

/// Loads this rank's part, or the whole model for one rank, by the implementation for
/// `context.device`: the one place that chooses. kUnimplemented for a device that has none.
base::StatusOr<std::unique_ptr<ModelPart>> load_model_part(std::string_view path,
                                                           const kernels::Context& context,
                                                           const LoadOptions& options);

}  // namespace gamelan::infer
