#include "infer/c_api/convert.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "infer/cache/cache_dtype.h"

namespace gamelan::infer {
namespace {

/// `given` as far as its size says, and `defaults` beyond.
template <class Struct>
base::StatusOr<Struct> completed(std::string_view name, const Struct& given, Struct defaults) {
  if (given.size < sizeof(given.size) || given.size > sizeof(Struct)) {
    return base::invalid_argument(
        "{0}: expected what gamelan_default_{0}() has filled, at most {1} bytes, got size {2}",
        name, sizeof(Struct), given.size);
  }
  std::memcpy(&defaults, &given, given.size);
  return defaults;
}

base::StatusOr<std::vector<text::TokenId>> tokens_of(std::string_view field, const int32_t* data,
                                                     std::size_t count) {
  if (data == nullptr && count > 0) {
    return base::invalid_argument("{}: expected {} tokens, got NULL", field, count);
  }
  return std::vector<text::TokenId>(data, data + count);
}

base::StatusOr<std::vector<std::vector<text::TokenId>>> words_of(std::string_view field,
                                                                 const gamelan_tokens* words,
                                                                 std::size_t count) {
  if (words == nullptr && count > 0) {
    return base::invalid_argument("{}: expected {} words, got NULL", field, count);
  }
  std::vector<std::vector<text::TokenId>> made;
  for (std::size_t i = 0; i < count; ++i) {
    GAMELAN_ASSIGN_OR_RETURN(auto word, tokens_of(field, words[i].data, words[i].count));
    made.push_back(std::move(word));
  }
  return made;
}

SamplingOptions sampling_of(const gamelan_request& from) {
  SamplingOptions to;
  to.temperature = from.temperature;
  to.top_k = from.top_k;
  to.top_p = from.top_p;
  to.min_p = from.min_p;
  to.repetition_penalty = from.repetition_penalty;
  to.presence_penalty = from.presence_penalty;
  to.frequency_penalty = from.frequency_penalty;
  if (from.has_seed != 0) {
    to.seed = from.seed;
  }
  return to;
}

gamelan_event event_of(const Event& event, const std::vector<gamelan_alternative>& alternatives) {
  gamelan_event told{};
  told.request = event.request;
  told.index = event.index;
  told.tokens = event.tokens.data();
  told.token_count = event.tokens.size();
  told.finish = name_of(event.finish).data();
  told.error = event.error.c_str();
  told.last = event.last ? 1 : 0;
  if (!event.log_probabilities.empty()) {
    told.log_probabilities = event.log_probabilities.data();
  }
  if (!alternatives.empty()) {
    told.alternatives = alternatives.data();
    told.alternative_count = event.alternatives.front().size();
  }
  told.score = event.score;
  return told;
}

}  // namespace

gamelan_options default_c_options() {
  const EngineOptions defaults;
  gamelan_options options{};
  options.size = sizeof(options);
  options.cache_bytes = defaults.cache_bytes;
  options.max_step_tokens = defaults.max_step_tokens;
  options.max_sequences = defaults.max_sequences;
  options.cache_block_tokens = static_cast<int>(defaults.cache.block_tokens);
  options.prefix_sharing = defaults.prefix_sharing ? 1 : 0;
  return options;
}

gamelan_request default_c_request() {
  const Request defaults;
  gamelan_request request{};
  request.size = sizeof(request);
  request.max_new_tokens = defaults.max_new_tokens;
  request.n = defaults.n;
  request.temperature = defaults.sampling.temperature;
  request.top_p = defaults.sampling.top_p;
  request.repetition_penalty = defaults.sampling.repetition_penalty;
  request.beam_width = defaults.beam.width;
  request.beam_groups = defaults.beam.groups;
  request.length_penalty = defaults.beam.length_penalty;
  request.lookup_ngram = defaults.lookup_ngram;
  return request;
}

base::StatusOr<gamelan_options> complete(const gamelan_options& options) {
  return completed("options", options, default_c_options());
}

base::StatusOr<EngineOptions> engine_options(const gamelan_options& options,
                                             const CausalModel& model) {
  EngineOptions made;
  made.cache.dtype = model.natural_cache_dtype();
  if (options.cache_dtype != nullptr) {
    const std::optional<tensor::DType> dtype = cache_dtype_from_name(options.cache_dtype);
    if (!dtype) {
      return base::invalid_argument("cache_dtype: expected f32, bf16, f16 or int8, got '{}'",
                                    options.cache_dtype);
    }
    made.cache.dtype = *dtype;
  }
  made.cache.block_tokens = options.cache_block_tokens;
  made.cache_bytes = options.cache_bytes;
  made.max_step_tokens = options.max_step_tokens;
  made.max_sequences = options.max_sequences;
  made.prefix_sharing = options.prefix_sharing != 0;
  return made;
}

base::StatusOr<Request> request_of(const gamelan_request& given) {
  GAMELAN_ASSIGN_OR_RETURN(const gamelan_request from,
                           completed("request", given, default_c_request()));
  Request to;
  GAMELAN_ASSIGN_OR_RETURN(to.prompt, tokens_of("prompt", from.prompt, from.prompt_tokens));
  to.max_new_tokens = from.max_new_tokens;
  to.min_new_tokens = from.min_new_tokens;
  to.sampling = sampling_of(from);
  to.beam = {from.beam_width, from.length_penalty, from.beam_groups, from.diversity_penalty,
             from.early_stopping != 0};
  to.n = from.n;
  to.best_of = from.best_of;
  if (from.has_end_tokens != 0) {
    GAMELAN_ASSIGN_OR_RETURN(to.end_tokens,
                             tokens_of("end_tokens", from.end_tokens, from.end_token_count));
  }
  GAMELAN_ASSIGN_OR_RETURN(to.stop_words,
                           words_of("stop_words", from.stop_words, from.stop_word_count));
  GAMELAN_ASSIGN_OR_RETURN(to.bad_words,
                           words_of("bad_words", from.bad_words, from.bad_word_count));
  to.log_probabilities = from.log_probabilities != 0;
  to.top_log_probabilities = from.top_log_probabilities;
  to.lookup_tokens = from.lookup_tokens;
  to.lookup_ngram = from.lookup_ngram;
  to.draft_tokens = from.draft_tokens;
  return to;
}

void CEvents::assign(std::vector<Event> events) {
  events_ = std::move(events);
  alternatives_.assign(events_.size(), {});
  told_.clear();
  for (std::size_t i = 0; i < events_.size(); ++i) {
    for (const std::vector<TokenAlternative>& place : events_[i].alternatives) {
      for (const TokenAlternative& alternative : place) {
        alternatives_[i].push_back({alternative.token, alternative.log_probability});
      }
    }
    told_.push_back(event_of(events_[i], alternatives_[i]));
  }
}

gamelan_statistics statistics_of(const EngineStatistics& s) {
  return {s.steps,       s.prompt_tokens,    s.shared_tokens,    s.generated_tokens,
          s.preemptions, s.proposed_tokens,  s.accepted_tokens,  s.cache_blocks,
          s.free_blocks, s.waiting_requests, s.running_sequences};
}

}  // namespace gamelan::infer
