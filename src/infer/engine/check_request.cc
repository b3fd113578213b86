#include "infer/engine/check_request.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace gamelan::infer {
namespace {

base::Status check_tokens(std::string_view field, std::span<const text::TokenId> tokens,
                          const io::ModelConfig& config) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config.vocab_size) {
      return base::invalid_argument("{}: expected tokens 0 … {}, got {} at index {}", field,
                                    config.vocab_size - 1, tokens[i], i);
    }
  }
  return base::OkStatus();
}

base::Status check_words(std::string_view field,
                         const std::vector<std::vector<text::TokenId>>& words,
                         const io::ModelConfig& config) {
  for (const std::vector<text::TokenId>& word : words) {
    if (word.empty()) {
      return base::invalid_argument("{}: expected at least one token a word, got an empty word",
                                    field);
    }
    GAMELAN_RETURN_IF_ERROR(check_tokens(field, word, config));
  }
  return base::OkStatus();
}

base::Status check_lengths(const Request& request, const io::ModelConfig& config) {
  if (request.prompt.empty()) {
    return base::invalid_argument("prompt: expected at least one token, got none");
  }
  if (request.max_new_tokens < 1) {
    return base::invalid_argument("max_new_tokens: expected at least 1, got {}",
                                  request.max_new_tokens);
  }
  if (request.min_new_tokens < 0 || request.min_new_tokens > request.max_new_tokens) {
    return base::invalid_argument("min_new_tokens: expected 0 … max_new_tokens {}, got {}",
                                  request.max_new_tokens, request.min_new_tokens);
  }
  // The last token is not fed back.
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  const std::int64_t limit = longest_text(config);
  if (limit > 0 && prompt > limit) {
    return base::invalid_argument("prompt: {} tokens, but the model takes {}", prompt, limit);
  }
  if (limit > 0 && prompt + request.max_new_tokens - 1 > limit) {
    return base::invalid_argument(
        "max_new_tokens: the model takes {} tokens; a prompt of {} leaves room for {}, got {}",
        limit, prompt, limit - prompt + 1, request.max_new_tokens);
  }
  return base::OkStatus();
}

base::Status check_sampling(const SamplingOptions& sampling) {
  const auto number = [](std::string_view field, double value, bool good,
                         std::string_view expected) {
    return good && std::isfinite(value)
               ? base::OkStatus()
               : base::invalid_argument("{}: expected {}, got {}", field, expected, value);
  };
  GAMELAN_RETURN_IF_ERROR(
      number("temperature", sampling.temperature, sampling.temperature >= 0, "0 (greedy) or more"));
  GAMELAN_RETURN_IF_ERROR(number("top_k", sampling.top_k, sampling.top_k >= 0, "0 (all) or more"));
  GAMELAN_RETURN_IF_ERROR(number("top_p", sampling.top_p, sampling.top_p > 0 && sampling.top_p <= 1,
                                 "more than 0 and at most 1"));
  GAMELAN_RETURN_IF_ERROR(
      number("min_p", sampling.min_p, sampling.min_p >= 0 && sampling.min_p <= 1, "0 … 1"));
  GAMELAN_RETURN_IF_ERROR(number("repetition_penalty", sampling.repetition_penalty,
                                 sampling.repetition_penalty > 0, "more than 0"));
  GAMELAN_RETURN_IF_ERROR(
      number("presence_penalty", sampling.presence_penalty, true, "a finite number"));
  return number("frequency_penalty", sampling.frequency_penalty, true, "a finite number");
}

base::Status check_beams(const Request& request, const io::ModelConfig& config) {
  const BeamOptions& beam = request.beam;
  if (beam.width < 1) {
    return base::invalid_argument("beam.width: expected at least 1, got {}", beam.width);
  }
  if (beam.groups < 1 || beam.width % beam.groups != 0) {
    return base::invalid_argument("beam.groups: expected a divisor of beam.width {}, got {}",
                                  beam.width, beam.groups);
  }
  if (!std::isfinite(beam.length_penalty)) {
    return base::invalid_argument("beam.length_penalty: expected a finite number, got {}",
                                  beam.length_penalty);
  }
  if (!std::isfinite(beam.diversity_penalty) || (beam.diversity_penalty != 0 && beam.groups == 1)) {
    return base::invalid_argument(
        "beam.diversity_penalty: expected a finite number, and 0 without beam.groups, got {}",
        beam.diversity_penalty);
  }
  if (beam.width == 1) {
    return base::OkStatus();
  }
  if (config.vocab_size / 2 < beam.width) {
    return base::invalid_argument("beam.width: expected at most half the vocabulary of {}, got {}",
                                  config.vocab_size, beam.width);
  }
  if (request.sampling.temperature != 0) {
    return base::invalid_argument("temperature: expected 0 with beams, got {}",
                                  request.sampling.temperature);
  }
  if (request.best_of != 0) {
    return base::invalid_argument(
        "best_of: expected 0 with beams, of which the n best are returned anyway, got {}",
        request.best_of);
  }
  if (request.lookup_tokens != 0 || request.draft_tokens != 0) {
    return base::invalid_argument(
        "lookup_tokens, draft_tokens: expected 0 with beams, which are chosen anew at each token, "
        "so that what follows a proposal is seldom needed, got {} and {}",
        request.lookup_tokens, request.draft_tokens);
  }
  return base::OkStatus();
}

base::Status check_texts(const Request& request) {
  if (request.n < 1) {
    return base::invalid_argument("n: expected at least 1, got {}", request.n);
  }
  if (request.beam.width > 1) {
    return request.n <= request.beam.width
               ? base::OkStatus()
               : base::invalid_argument("n: expected at most beam.width {}, got {}",
                                        request.beam.width, request.n);
  }
  if (request.best_of != 0 && request.best_of < request.n) {
    return base::invalid_argument("best_of: expected 0 or at least n {}, got {}", request.n,
                                  request.best_of);
  }
  if (texts_of(request) > 1 && request.sampling.temperature == 0) {
    return base::invalid_argument(
        "n: {} texts without beams would all be the same at temperature 0", texts_of(request));
  }
  return base::OkStatus();
}

base::Status check_extras(const Request& request, const io::ModelConfig& config,
                          const EngineLimits& limits) {
  if (request.top_log_probabilities < 0 || request.top_log_probabilities > config.vocab_size ||
      (request.top_log_probabilities > 0 && !request.log_probabilities)) {
    return base::invalid_argument(
        "top_log_probabilities: expected 0 … {}, and 0 without log_probabilities, got {}",
        config.vocab_size, request.top_log_probabilities);
  }
  if (request.lookup_tokens < 0 || request.draft_tokens < 0 || request.lookup_ngram < 1) {
    return base::invalid_argument(
        "lookup_tokens, draft_tokens, lookup_ngram: expected at least 0, 0 and 1, got {}, {} and "
        "{}",
        request.lookup_tokens, request.draft_tokens, request.lookup_ngram);
  }
  if (request.draft_tokens > 0 && !limits.has_draft) {
    return base::invalid_argument("draft_tokens: the engine has no draft model");
  }
  if (request.draft_tokens > 0 && request.lookup_tokens > 0) {
    return base::invalid_argument("draft_tokens: expected 0 with lookup_tokens, got {}",
                                  request.draft_tokens);
  }
  if (request.end_tokens) {
    GAMELAN_RETURN_IF_ERROR(check_tokens("end_tokens", *request.end_tokens, config));
  }
  GAMELAN_RETURN_IF_ERROR(check_words("stop_words", request.stop_words, config));
  return check_words("bad_words", request.bad_words, config);
}

base::Status check_room(const Request& request, const EngineLimits& limits) {
  if (texts_of(request) > limits.max_sequences) {
    return base::invalid_argument("{}: expected at most {} sequences, got {}",
                                  request.beam.width > 1 ? "beam.width" : "n", limits.max_sequences,
                                  texts_of(request));
  }
  const std::int64_t blocks = blocks_of(request, limits);
  if (blocks > limits.blocks) {
    return base::invalid_argument(
        "cache_bytes: {} text{} of {} + {} tokens need {} blocks of {} tokens, there are {}",
        texts_of(request), texts_of(request) == 1 ? "" : "s", request.prompt.size(),
        request.max_new_tokens, blocks, limits.block_tokens, limits.blocks);
  }
  return base::OkStatus();
}

}  // namespace

std::int64_t longest_text(const io::ModelConfig& config) {
  const bool grows =
      config.positions == io::Positions::kRope && config.rope.kind == io::RopeKind::kDynamic;
  return grows ? 0 : config.max_positions;
}

int texts_of(const Request& request) {
  if (request.beam.width > 1) {
    return request.beam.width;
  }
  return std::max(request.n, request.best_of);
}

std::int64_t blocks_of(const Request& request, const EngineLimits& limits) {
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  const std::int64_t all =
      (prompt + request.max_new_tokens - 1 + limits.block_tokens - 1) / limits.block_tokens;
  const std::int64_t shared = limits.prefix_sharing ? prompt / limits.block_tokens : 0;
  return shared + texts_of(request) * (all - shared);
}

base::Status check_request(const Request& request, const io::ModelConfig& config,
                           const EngineLimits& limits) {
  GAMELAN_RETURN_IF_ERROR(check_lengths(request, config));
  GAMELAN_RETURN_IF_ERROR(check_tokens("prompt", request.prompt, config));
  GAMELAN_RETURN_IF_ERROR(check_sampling(request.sampling));
  GAMELAN_RETURN_IF_ERROR(check_beams(request, config));
  GAMELAN_RETURN_IF_ERROR(check_texts(request));
  GAMELAN_RETURN_IF_ERROR(check_extras(request, config, limits));
  return check_room(request, limits);
}

}  // namespace gamelan::infer
