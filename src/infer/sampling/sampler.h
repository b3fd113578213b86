#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "infer/engine/request.h"

namespace gamelan::infer {

/// Where a random number is drawn: the same place gives the same number.
struct DrawPlace {
  std::uint64_t seed = 0;
  std::uint32_t position = 0;  // among the generated tokens
  std::uint32_t text = 0;      // which of the request's texts
};

/// A token that may be drawn.
struct Candidate {
  float logit = 0.0F;
  float weight = 0.0F;  // exp((logit - largest logit) / temperature)
  text::TokenId token = 0;
};

/// Index of the largest logit, the first of equal ones; nullopt when it is no finite number.
std::optional<text::TokenId> largest_logit(std::span<const float> logits);

/// log(sum(exp(logits))).
double log_sum_exp(std::span<const float> logits);

/// The most probable tokens, best first, by log-probabilities logit - `normaliser`.
std::vector<TokenAlternative> best_tokens(std::span<const float> logits, double normaliser,
                                          int count);

/// Chooses tokens from logits. Keeps its scratch memory, so one thread at a time.
class Sampler {
 public:
  /// The token that follows; nullopt when no logit is a finite number.
  ///
  /// Greedy at temperature 0. Else by the exponential race: of the candidates with probabilities
  /// p_i and draws E_i ~ Exp(1), the one with the least E_i / p_i, which has distribution p. As E_i
  /// depends on the place and the token alone, a draft model that draws at the same place
  /// mostly names the token that the model itself will draw (Daliri et al. 2024).
  std::optional<text::TokenId> choose(const SamplingOptions& options, const DrawPlace& place,
                                      std::span<const float> logits);

  /// What choose() draws from, as transformers' warpers leave it: temperature, top-k (equal logits
  /// stay together), top-p (the token that crosses the sum stays), min-p. No full sort: selections
  /// only. Empty when no logit is finite. Valid until the next call. REQUIRES: temperature > 0.
  std::span<const Candidate> candidates(const SamplingOptions& options,
                                        std::span<const float> logits);

 private:
  float top_k_threshold(int k, std::span<const float> logits);
  void keep_top_p(double top_p);

  std::vector<Candidate> candidates_;
  std::vector<float> selection_;
};

}  // namespace gamelan::infer
