#include "infer/engine/events.h"

#include <algorithm>
#include <numeric>

#include "infer/sampling/stop_words.h"

namespace gamelan::infer {
namespace {

double sum_of(const std::vector<float>& log_probabilities) {
  return std::accumulate(log_probabilities.begin(), log_probabilities.end(), 0.0);
}

/// Of all tokens that were drawn: else a text that stops at once would be the best one.
double mean_of(const Sequence& sequence) {
  const std::size_t tokens = sequence.log_probabilities.size() + sequence.stop_tokens;
  return (sum_of(sequence.log_probabilities) + sequence.stop_log_probability) /
         static_cast<double>(std::max<std::size_t>(tokens, 1));
}

/// The event with the generated tokens first … last - 1.
Event event_of(const RequestState& state, const Sequence& sequence, int index, std::size_t first,
               std::size_t last) {
  Event event;
  event.request = state.id;
  event.index = index;
  const auto tokens = sequence.generated_tokens().subspan(first, last - first);
  event.tokens.assign(tokens.begin(), tokens.end());
  if (state.request.log_probabilities) {
    const auto slice = [&](const auto& all) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
      return std::decay_t<decltype(all)>(begin, begin + static_cast<std::ptrdiff_t>(last - first));
    };
    event.log_probabilities = slice(sequence.log_probabilities);
    if (state.request.top_log_probabilities > 0) {
      event.alternatives = slice(sequence.alternatives);
    }
  }
  event.finish = sequence.finish;
  if (!sequence.live()) {
    event.score = state.has_beams() ? sequence.score : sum_of(sequence.log_probabilities);
  }
  return event;
}

}  // namespace

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      break;
    case FinishReason::kEndToken:
      return "end";
    case FinishReason::kStopWord:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

void tell_progress(const RequestState& state, Sequence& sequence, std::vector<Event>& events) {
  const auto generated = static_cast<std::size_t>(sequence.generated());
  std::size_t certain = generated;
  if (sequence.live()) {
    certain -= match_stop_words(state.request.stop_words, sequence.generated_tokens()).undecided;
    if (certain <= sequence.emitted) {
      return;
    }
  }
  events.push_back(
      event_of(state, sequence, static_cast<int>(sequence.index), sequence.emitted, certain));
  sequence.emitted = certain;
}

void tell_best(const RequestState& state, std::vector<Event>& events) {
  std::vector<const Sequence*> best;
  for (const auto& sequence : state.sequences) {
    best.push_back(sequence.get());
  }
  if (!state.has_beams()) {
    std::ranges::stable_sort(best, std::ranges::greater(),
                             [](const Sequence* sequence) { return mean_of(*sequence); });
  }
  best.resize(std::min(best.size(), static_cast<std::size_t>(state.request.n)));
  for (std::size_t i = 0; i < best.size(); ++i) {
    events.push_back(event_of(state, *best[i], static_cast<int>(i), 0,
                              static_cast<std::size_t>(best[i]->generated())));
  }
}

void tell_end(RequestState& state, FinishReason reason, std::string_view error,
              std::vector<Event>& events) {
  for (int index = 0; index < state.request.n; ++index) {
    const auto found = std::ranges::find_if(state.sequences, [&](const auto& sequence) {
      return static_cast<int>(sequence->index) == index;
    });
    if (state.streams() && found != state.sequences.end() && !(*found)->live()) {
      continue;  // has been told
    }
    Event event;
    event.request = state.id;
    event.index = index;
    event.finish = reason;
    event.error = error;
    events.push_back(std::move(event));
  }
  events.back().last = true;
}

FinishReason finish_of(const RequestState& state, Sequence& sequence) {
  if (std::ranges::find(state.end_tokens, sequence.tokens.back()) != state.end_tokens.end()) {
    return FinishReason::kEndToken;
  }
  const std::size_t stop =
      match_stop_words(state.request.stop_words, sequence.generated_tokens()).matched;
  if (stop > 0) {
    sequence.tokens.resize(sequence.tokens.size() - stop);
    const auto left = static_cast<std::size_t>(sequence.generated());
    if (sequence.log_probabilities.size() > left) {
      const double all = sum_of(sequence.log_probabilities);
      sequence.stop_tokens = sequence.log_probabilities.size() - left;
      sequence.log_probabilities.resize(left);
      sequence.stop_log_probability = all - sum_of(sequence.log_probabilities);
    }
    sequence.alternatives.resize(std::min(sequence.alternatives.size(), left));
    return FinishReason::kStopWord;
  }
  return sequence.generated() >= state.request.max_new_tokens ? FinishReason::kLength
                                                              : FinishReason::kNone;
}

}  // namespace gamelan::infer
