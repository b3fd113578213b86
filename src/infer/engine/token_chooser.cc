#include "infer/engine/token_chooser.h"

#include <algorithm>
#include <cmath>

#include "infer/sampling/logits_processor.h"

namespace gamelan::infer {
namespace {

LogitsContext context_of(const RequestState& state, const Sequence& sequence) {
  return {sequence.tokens, sequence.prompt_tokens, &sequence.counts, state.end_tokens};
}

}  // namespace

bool TokenChooser::extend(const RequestState& state, Sequence& sequence, std::span<float> logits) {
  if (state.is_scored()) {
    raw_.assign(logits.begin(), logits.end());
  }
  process_logits(state.request, context_of(state, sequence), logits);
  const DrawPlace place{state.seed, static_cast<std::uint32_t>(sequence.generated()),
                        sequence.index};
  const auto token = sampler_.choose(state.request.sampling, place, logits);
  if (!token) {
    return false;
  }
  if (state.is_scored()) {
    const double normaliser = log_sum_exp(raw_);
    sequence.log_probabilities.push_back(
        static_cast<float>(raw_[static_cast<std::size_t>(*token)] - normaliser));
    if (state.request.top_log_probabilities > 0) {
      sequence.alternatives.push_back(
          best_tokens(raw_, normaliser, state.request.top_log_probabilities));
    }
  }
  append(sequence, *token, state.request.sampling);
  return true;
}

bool TokenChooser::score(const RequestState& state, const Sequence& beam, std::span<float> logits,
                         std::span<float> own) {
  const double normaliser = log_sum_exp(logits);
  if (!std::isfinite(normaliser)) {
    return false;
  }
  for (float& logit : logits) {
    logit = static_cast<float>(logit - normaliser);
  }
  if (!own.empty()) {
    std::ranges::copy(logits, own.begin());
  }
  process_logits(state.request, context_of(state, beam), logits);
  return true;
}

}  // namespace gamelan::infer
