#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "infer/engine/request.h"
#include "infer/sampling/beam_trace.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// A text that beam search has finished or given up extending.
struct BeamHypothesis {
  std::vector<text::TokenId> tokens;  // generated ones, an end token included, a stop word not
  /// Sum of log-probabilities / length^length_penalty, with the stop word.
  double score = 0.0;
  FinishReason finish = FinishReason::kLength;
  BeamTrace::Path trace;  // of `tokens`, when BeamRules ask for it
};

/// What a request says about its beams beside BeamOptions.
struct BeamRules {
  std::vector<text::TokenId> end_tokens;
  std::vector<std::vector<text::TokenId>> stop_words;
  /// What transformers counts for a group that is done (diversity penalty).
  text::TokenId pad_token = 0;
  /// Keep the log-probabilities of tokens, and of so many alternatives; unset = none.
  std::optional<int> alternatives;
};

/// Beam search of one request, as BeamSearchScorer of transformers 4.x does it, with groups of
/// beams (Vijayakumar et al. 2016), each with its own finished texts. Knows log-probabilities and
/// tokens only; the engine keeps the beams' caches. One thread.
class BeamSearch {
 public:
  BeamSearch(const BeamOptions& options, BeamRules rules);

  struct Live {
    /// The beam of the step before that it extends.
    std::int32_t parent = 0;
    text::TokenId token = 0;
    double score = 0.0;  // sum of log-probabilities
    std::int32_t group = 0;
    std::int32_t place = BeamTrace::kNothing;
  };

  /// Extends the live beams (one at first, `live().size()` later) by a token each.
  /// `log_probabilities` [beams, vocabulary], processed; is overwritten where groups avoid each
  /// other. `own` [beams, vocabulary] are the model's own, looked at when BeamRules ask for
  /// them. `generated[i]` are the tokens that beam i has so far. REQUIRES: vocabulary >= 2 * width.
  void advance(tensor::MatrixView<float> log_probabilities, tensor::MatrixView<const float> own,
               std::span<const std::span<const text::TokenId>> generated);
  /// The beams after advance(), those of a group beside each other; empty when all groups are done.
  const std::vector<Live>& live() const { return live_; }

  /// The `count` best texts, best first, when nothing is extended any more: groups that are not
  /// done give their live beams, whose tokens (the last ones included) are `generated`.
  std::vector<BeamHypothesis> finish(std::span<const std::span<const text::TokenId>> generated,
                                     int count);

 private:
  struct Group {
    std::vector<BeamHypothesis> finished;
    bool done = false;
  };
  struct Candidate {
    double score = 0.0;
    std::int32_t beam = 0;
    text::TokenId token = 0;
  };
  /// Why a text ends with a token, and how many of its tokens are cut off.
  struct Ending {
    FinishReason finish = FinishReason::kNone;
    std::size_t cut = 0;
  };
  Ending ending_of(std::span<const text::TokenId> generated, text::TokenId token) const;
  std::int32_t extend_trace(const Candidate& candidate);
  double score_of(double log_probability, std::size_t length) const;
  void finish_candidate(Group& group, const Candidate& candidate, const Ending& ending,
                        std::span<const text::TokenId> generated);
  void add(Group& group, BeamHypothesis hypothesis) const;
  bool is_done(const Group& group, double best_score, std::size_t length) const;
  void avoid(std::span<const text::TokenId> chosen, std::span<float> log_probabilities) const;
  void advance_group(std::int32_t group, std::span<const std::int32_t> beams,
                     tensor::MatrixView<float> log_probabilities,
                     std::span<const std::span<const text::TokenId>> generated,
                     std::vector<Live>& next);
  void best_candidates(std::span<const std::int32_t> beams,
                       tensor::MatrixView<float> log_probabilities);

  BeamOptions options_;
  BeamRules rules_;
  std::size_t group_size_;
  std::vector<Group> groups_;
  std::vector<Live> live_;
  std::vector<Candidate> candidates_;
  std::optional<BeamTrace> trace_;
  bool begun_ = false;
};

}  // namespace gamelan::infer
