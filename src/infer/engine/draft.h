#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "infer/engine/sequence.h"
#include "infer/model/causal_model.h"
#include "infer/sampling/sampler.h"

namespace gamelan::infer {

/// Lets a small model propose tokens (speculative decoding, Leviathan et al. 2023). It has a cache
/// of as many blocks as the model's and keeps the same tokens at the same places, so that one block
/// table serves both. What it proposes decides how fast the engine is, never what it says. One
/// thread.
class Draft {
 public:
  /// REQUIRES: `model` outlives this and has a cache as large as that of the engine's model.
  explicit Draft(CausalModel& model) : model_(model) {}

  /// Follows `plan` in the draft model's cache and replaces the proposals of the sequences that ask
  /// for draft tokens, in `plan` and in the sequences. REQUIRES: plan is what the scheduler has
  /// just written for `running`.
  base::Status propose(StepPlan& plan, const std::vector<RequestState*>& running);

 private:
  struct Drafting {
    RequestState* state = nullptr;
    Sequence* sequence = nullptr;
    StepSequence* planned = nullptr;
    std::int64_t first_token = 0;  // of its proposals, in the engine's plan
    std::size_t drafted = 0;
  };
  base::Status follow(StepPlan& plan, const std::vector<RequestState*>& running);
  base::Status continue_drafts(StepPlan& plan);
  base::Status forward();
  void take(Drafting& drafting, std::int64_t row, StepPlan& plan);

  CausalModel& model_;
  Sampler sampler_;
  StepPlan plan_;
  std::vector<Drafting> drafting_;
  std::vector<float> logits_;
  std::vector<text::TokenId> context_;
};

}  // namespace gamelan::infer
