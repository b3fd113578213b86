#pragma once

#include <absl/container/flat_hash_map.h>

#include <span>
#include <vector>

#include "infer/engine/request.h"

namespace gamelan::infer {

/// How often each token was generated; tokens of the prompt are there with 0.
using TokenCounts = absl::flat_hash_map<text::TokenId, int>;

/// Whether process_logits() would need the counts.
bool needs_counts(const SamplingOptions& sampling);

/// What a row of logits follows.
struct LogitsContext {
  /// Prompt and generated tokens.
  std::span<const text::TokenId> tokens;
  std::int64_t prompt_tokens = 0;
  /// Of those tokens; may be empty unless needs_counts().
  const TokenCounts* counts = nullptr;
  std::span<const text::TokenId> end_tokens;
};

/// Changes `logits` [vocabulary] as transformers' LogitsProcessors do, in this order: repetition
/// penalty; presence and frequency penalties (OpenAI's: logit - presence * [count > 0] - frequency
/// * count); end tokens before min_new_tokens; bad words. A bad word that is a single end token is
/// ignored, as there.
void process_logits(const Request& request, const LogitsContext& context, std::span<float> logits);

}  // namespace gamelan::infer
