#pragma once

// Requests for measurements of the engine, and what came of them.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "infer/engine/engine.h"

namespace gamelan::bench {

/// Where prompts come from: the tokens of a text, one prompt after the other, or random tokens.
class PromptSource {
 public:
  /// `text` empty = random tokens below `vocabulary`.
  PromptSource(std::vector<text::TokenId> text, std::int64_t vocabulary)
      : text_(std::move(text)), vocabulary_(vocabulary) {}
  std::vector<text::TokenId> take(int tokens);

 private:
  std::vector<text::TokenId> text_;
  std::int64_t vocabulary_;
  std::size_t next_ = 0;
  std::mt19937 random_{1};
};

/// Greedy, without an end token: `new_tokens` come for certain.
infer::Request request_of(std::vector<text::TokenId> prompt, int new_tokens);

/// What a run of requests gave.
struct Outcome {
  double seconds = 0;
  infer::EngineStatistics statistics;
  /// One list a request, in the order in which they were submitted.
  std::vector<std::vector<text::TokenId>> tokens;
  std::vector<std::vector<float>> log_probabilities;

  std::uint64_t prompt_tokens() const {
    return statistics.prompt_tokens + statistics.shared_tokens;
  }
  /// Prompts and new ones.
  double tokens_per_second() const {
    return static_cast<double>(prompt_tokens() + statistics.generated_tokens) / seconds;
  }
  /// Adds what a later run of other requests gave.
  void append(const Outcome& other);
};

/// Submits all at once and runs until nothing is left.
base::StatusOr<Outcome> run_together(infer::CausalModel& model, const infer::EngineOptions& options,
                                     const std::vector<infer::Request>& requests);
/// Submits each when the one before has ended.
base::StatusOr<Outcome> run_one_by_one(infer::CausalModel& model,
                                       const infer::EngineOptions& options,
                                       const std::vector<infer::Request>& requests);

}  // namespace gamelan::bench
