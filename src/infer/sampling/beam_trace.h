#pragma once

#include <cstdint>
#include <vector>

#include "infer/engine/request.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// The log-probabilities of all beams' tokens, each beside a pointer to the token before it: beams
/// that part share what they have in common, and a step costs the same however long they are. One
/// thread.
class BeamTrace {
 public:
  /// What stands before the first token.
  static constexpr std::int32_t kNothing = -1;

  /// Keeps the `alternatives` most probable tokens beside each token.
  explicit BeamTrace(int alternatives) : count_(alternatives) {}

  /// The model's own `log_probabilities` [beams, vocabulary] of a step.
  void begin_step(tensor::MatrixView<const float> log_probabilities);
  /// Adds the token by which `beam` continues; `before` is the place of its last one. Returns the
  /// new one's place. REQUIRES: the matrix of begin_step() is still there.
  std::int32_t add(std::int32_t before, std::int32_t beam, text::TokenId token);

  struct Path {
    std::vector<float> log_probabilities;
    std::vector<std::vector<TokenAlternative>> alternatives;
  };
  /// Of the tokens from the first one to the one at `place`.
  Path path(std::int32_t place) const;

 private:
  struct Node {
    std::int32_t before = kNothing;
    float log_probability = 0.0F;
    std::size_t row = 0;
  };

  int count_;
  tensor::MatrixView<const float> step_{};
  std::size_t first_row_ = 0;
  std::vector<Node> nodes_;
  std::vector<std::vector<TokenAlternative>> rows_;  // none without alternatives
};

}  // namespace gamelan::infer
