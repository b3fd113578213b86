#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "infer/cache/block_pool.h"
#include "infer/engine/request.h"
#include "infer/sampling/beam_search.h"
#include "infer/sampling/logits_processor.h"

namespace gamelan::infer {

/// A text that grows. Value of the engine's thread.
struct Sequence {
  /// Prompt, then what was generated.
  std::vector<text::TokenId> tokens;
  std::int64_t prompt_tokens = 0;
  /// Of `tokens`, those whose keys and values are in `blocks`.
  std::int64_t computed = 0;
  /// The same of the draft model.
  std::int64_t draft_computed = 0;
  std::vector<std::int32_t> blocks;
  /// Names of the published blocks at the front of `blocks`.
  std::vector<ContentId> contents;
  TokenCounts counts;

  std::uint32_t index = 0;               // among the request's texts
  std::size_t emitted = 0;               // generated tokens that events have told
  double score = 0.0;                    // a beam's, when it has ended
  std::vector<float> log_probabilities;  // one a generated token, when is_scored()
  double stop_log_probability = 0.0;     // of the stop word that was cut off,
  std::size_t stop_tokens = 0;           // and its tokens: best_of counts them too
  std::vector<std::vector<TokenAlternative>> alternatives;
  FinishReason finish = FinishReason::kNone;

  // Of the current step.
  std::int32_t scheduled = 0;
  std::int32_t logits = 0;
  std::int64_t first_row = 0;
  std::vector<text::TokenId> proposals;

  std::int64_t length() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t pending() const { return length() - computed; }
  std::int64_t generated() const { return length() - prompt_tokens; }
  std::span<const text::TokenId> generated_tokens() const {
    return std::span(tokens).subspan(static_cast<std::size_t>(prompt_tokens));
  }
  bool live() const { return finish == FinishReason::kNone; }
};

/// A request and its sequences.
struct RequestState {
  RequestId id = 0;
  Request request;
  std::uint64_t seed = 0;
  std::vector<text::TokenId> end_tokens;
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::unique_ptr<BeamSearch> beams;
  int texts = 1;  // generated at the same time: best_of or beams
  bool running = false;
  /// The request whose computation of a common prompt this one waits for; 0 = none.
  RequestId waits_for = 0;
  std::int64_t waits_until = 0;  // tokens
  /// What counts for the limit on sequences.
  int width() const { return texts; }
  bool has_beams() const { return request.beam.width > 1; }
  /// Whether log-probabilities of tokens are needed.
  bool is_scored() const {
    return request.log_probabilities || (!has_beams() && texts > request.n);
  }
  /// Whether tokens are told as they come.
  bool streams() const { return !has_beams() && texts == request.n; }
  /// Beams advance together: none is computed up to its end before all can be.
  bool lockstep() const { return beams != nullptr && sequences.size() > 1; }
};

/// Takes the memory for the longest text that `request` can become, so that it grows without any.
void reserve_text(Sequence& sequence, const Request& request, const BlockPool& pool);
/// A sequence with the same tokens that shares all blocks.
std::unique_ptr<Sequence> fork(const Sequence& sequence, BlockPool& pool);
/// Appends a generated token to it.
void append(Sequence& sequence, text::TokenId token, const SamplingOptions& sampling);
/// Gives its blocks back; it has to be computed again.
void drop_blocks(Sequence& sequence, BlockPool& pool);
/// Gives back blocks beyond those that `computed` tokens need.
void trim_blocks(Sequence& sequence, BlockPool& pool);
/// Lets full blocks be found by others; equal ones become one.
void publish_blocks(Sequence& sequence, BlockPool& pool);
/// Takes published blocks for the beginning of a sequence that has none, never for its last token.
/// Returns the tokens found.
std::int64_t adopt_blocks(Sequence& sequence, BlockPool& pool);

}  // namespace gamelan::infer
