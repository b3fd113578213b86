#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "infer/model/causal_model.h"
#include "kernels/context.h"
#include "kernels/weight_scheme.h"

namespace gamelan::dist {
class ProcessGroup;
}

namespace gamelan::infer {

/// The place of this process among those that run one model together. Rank = pipeline_rank *
/// tensor_size + tensor_rank. The group has tensor_size * pipeline_size ranks, or is null for one.
struct ParallelOptions {
  int tensor_size = 1;
  int pipeline_size = 1;
  dist::ProcessGroup* group = nullptr;
  /// The tensor_size ranks of this rank's stage, in order; null = `group`. Needed when both sizes
  /// are above 1 (parallel/parallel_job.h forms it).
  dist::ProcessGroup* stage_group = nullptr;
};

struct LoadOptions {
  /// Unset = as the checkpoint stores its linear layers: int8 and int4 in their own schemes, bf16
  /// for bf16, f16 and what is quantised otherwise, f32 for f32.
  std::optional<kernels::WeightScheme> scheme;
  ParallelOptions parallel;
};

/// Loads a model for text generation: a HuggingFace or FasterTransformer folder, a GGUF file or a
/// llama2.c checkpoint.
/// Each rank reads only its part. `context` must outlive the model. An architecture that does not
/// generate (BERT) and an unknown one are refused with the list of known ones; so are a device that
/// has no implementation and a parallel size that does not divide the heads.
base::StatusOr<std::unique_ptr<CausalModel>> load_causal_model(std::string_view path,
                                                               const kernels::Context& context,
                                                               const LoadOptions& options);

}  // namespace gamelan::infer
