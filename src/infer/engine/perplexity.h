#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "infer/model/causal_model.h"

namespace gamelan::infer {

struct PerplexityOptions {
  /// Most tokens that the model sees at once; 0 = as many as it takes, but 1,024 where it knows no
  /// limit.
  std::int64_t window = 0;
  /// How far a window moves. Less than `window` leaves each token window - stride tokens of context
  /// or more; 0 = `window`, whose tokens begin without any.
  std::int64_t stride = 0;
  /// Tokens computed in one step, whose logits are held.
  std::int64_t step_tokens = 128;
  CacheOptions cache = {};
};

struct Perplexity {
  /// Tokens that were foretold: all but the first and, with windows that do not overlap, each
  /// window's first.
  std::int64_t tokens = 0;
  /// -log(probability), summed over them.
  double negative_log_likelihood = 0;

  /// exp of the mean.
  double value() const;
};

/// How well `model` foretells `tokens`, in windows over a text of any length as transformers'
/// documentation measures it ("Perplexity of fixed-length models"): each token counts once, in the
/// first window that holds it. After each window `advanced` is told how many tokens it brought.
/// Makes the model's cache anew. kInvalidArgument for fewer than two tokens, ids outside the
/// vocabulary, a window longer than the model takes, a stride beyond the window.
base::StatusOr<Perplexity> measure_perplexity(
    CausalModel& model, std::span<const text::TokenId> tokens, const PerplexityOptions& options,
    const std::function<void(std::int64_t)>& advanced = {});

}  // namespace gamelan::infer
