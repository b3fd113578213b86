#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace gamelan::infer {

using RequestId = std::uint64_t;

/// How the next token is chosen. Names and meanings are HuggingFace's and OpenAI's.
struct SamplingOptions {
  /// 0 = greedy.
  double temperature = 0.0;
  /// Only the k most probable tokens; 0 = all.
  int top_k = 0;
  /// Only the most probable tokens whose probabilities reach this sum; 1 = all.
  double top_p = 1.0;
  /// Only tokens at least this fraction as probable as the most probable one; 0 = all.
  double min_p = 0.0;
  /// Divides positive and multiplies negative logits of tokens that have occurred, prompt included
  /// (Keskar et al. 2019); 1 = off.
  double repetition_penalty = 1.0;
  /// Subtracted from the logit of every token that was generated; 0 = off.
  double presence_penalty = 0.0;
  /// Subtracted once for each time a token was generated; 0 = off.
  double frequency_penalty = 0.0;
  /// The same seed gives the same tokens, alone or in a batch. Unset = drawn by the engine.
  std::optional<std::uint64_t> seed;
};

struct BeamOptions {
  /// 1 = no beam search. Greedy within: temperature and the like do not apply.
  int width = 1;
  /// A finished text scores sum of log-probabilities / length^penalty, as in HuggingFace.
  double length_penalty = 1.0;
  /// Groups of beams that avoid each other's tokens (Vijayakumar et al. 2016); 1 = plain.
  int groups = 1;
  double diversity_penalty = 0.0;
  /// Ends when `width` texts are finished, whether or not a better one could follow.
  bool early_stopping = false;
};

struct Request {
  std::vector<text::TokenId> prompt;
  int max_new_tokens = 16;
  /// No end token before so many were generated.
  int min_new_tokens = 0;
  SamplingOptions sampling;
  BeamOptions beam;
  /// Texts to return; of best_of generated ones, those of the highest mean log-probability. With
  /// beams: the n best beams.
  int n = 1;
  int best_of = 0;  ///< 0 = n
  /// Tokens that end the text, themselves its last one. Unset = the model's own; empty = none.
  std::optional<std::vector<text::TokenId>> end_tokens;
  /// Sequences of tokens that end the text, themselves kept out of it. A beam's score counts them.
  std::vector<std::vector<text::TokenId>> stop_words;
  /// Sequences of tokens that are never completed.
  std::vector<std::vector<text::TokenId>> bad_words;
  /// Report the log-probability of each token, and of so many alternatives: the model's own, before
  /// penalties and temperature. With beams: those along the path of each returned one.
  bool log_probabilities = false;
  int top_log_probabilities = 0;
  /// Speculative decoding by prompt look-up (Saxena 2023): tokens proposed a step; 0 = off. Not
  /// with beams, as little as draft_tokens.
  int lookup_tokens = 0;
  int lookup_ngram = 3;
  /// Speculative decoding by the engine's draft model: tokens proposed a step; 0 = off.
  int draft_tokens = 0;
};

enum class FinishReason : std::uint8_t { kNone, kEndToken, kStopWord, kLength, kCancelled, kError };
/// "", "end", "stop", "length", "cancelled", "error".
std::string_view name_of(FinishReason reason);

struct TokenAlternative {
  text::TokenId token = 0;
  float log_probability = 0.0F;
};

/// What happened to a request: tokens as they come, or the end. With beams, best_of > n and stop
/// words that may still match, tokens come when they are certain.
struct Event {
  RequestId request = 0;
  /// Which of its n texts.
  int index = 0;
  std::vector<text::TokenId> tokens;
  /// One a token when they were asked for.
  std::vector<float> log_probabilities;
  std::vector<std::vector<TokenAlternative>> alternatives;
  FinishReason finish = FinishReason::kNone;
  /// When the text ends, and log-probabilities were asked for or best_of > n: their sum (beams: the
  /// score).
  double score = 0.0;
  /// For kError.
  std::string error;
  /// True in the last event of the request.
  bool last = false;
};

}  // namespace gamelan::infer
