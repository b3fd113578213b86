#include "infer/sampling/logits_processor.h"

#include <algorithm>
#include <limits>

namespace gamelan::infer {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

void apply_penalties(const SamplingOptions& sampling, const TokenCounts& counts,
                     std::span<float> logits) {
  const auto repetition = static_cast<float>(sampling.repetition_penalty);
  for (const auto& [token, count] : counts) {
    float& logit = logits[static_cast<std::size_t>(token)];
    if (repetition != 1.0F) {
      logit = logit < 0.0F ? logit * repetition : logit / repetition;
    }
    if (count > 0) {
      logit -= static_cast<float>(sampling.presence_penalty + sampling.frequency_penalty * count);
    }
  }
}

void forbid_bad_words(const Request& request, const LogitsContext& context,
                      std::span<float> logits) {
  for (const std::vector<text::TokenId>& word : request.bad_words) {
    if (word.size() == 1 &&
        std::ranges::find(context.end_tokens, word.front()) != context.end_tokens.end()) {
      continue;
    }
    const std::size_t before = word.size() - 1;
    if (before <= context.tokens.size() &&
        std::ranges::equal(context.tokens.last(before), std::span(word).first(before))) {
      logits[static_cast<std::size_t>(word.back())] = kForbidden;
    }
  }
}

}  // namespace

bool needs_counts(const SamplingOptions& sampling) {
  return sampling.repetition_penalty != 1.0 || sampling.presence_penalty != 0.0 ||
         sampling.frequency_penalty != 0.0;
}

void process_logits(const Request& request, const LogitsContext& context, std::span<float> logits) {
  if (context.counts != nullptr && needs_counts(request.sampling)) {
    apply_penalties(request.sampling, *context.counts, logits);
  }
  const auto generated = static_cast<std::int64_t>(context.tokens.size()) - context.prompt_tokens;
  if (generated < request.min_new_tokens) {
    for (const text::TokenId token : context.end_tokens) {
      logits[static_cast<std::size_t>(token)] = kForbidden;
    }
  }
  forbid_bad_words(request, context, logits);
}

}  // namespace gamelan::infer
