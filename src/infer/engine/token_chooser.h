#pragma once

#include <optional>
#include <span>
#include <vector>

#include "infer/engine/sequence.h"
#include "infer/sampling/sampler.h"

namespace gamelan::infer {

/// Turns rows of logits into tokens, as the request wants it. One thread.
class TokenChooser {
 public:
  /// Chooses the token that follows `sequence`, appends it, and its log-probability where that is
  /// needed. False, and nothing is appended, when no logit is a finite number. `logits`
  /// [vocabulary] is overwritten.
  bool extend(const RequestState& state, Sequence& sequence, std::span<float> logits);

  /// Makes log-probabilities of `logits` and processes them, for a beam. `own` [vocabulary] gets
  /// them as they were before; empty = not wanted. False as above.
  static bool score(const RequestState& state, const Sequence& beam, std::span<float> logits,
                    std::span<float> own);

 private:
  Sampler sampler_;
  std::vector<float> raw_;
};

}  // namespace gamelan::infer
