#include "infer/sampling/beam_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "infer/sampling/stop_words.h"

namespace gamelan::infer {

BeamSearch::BeamSearch(const BeamOptions& options, BeamRules rules)
    : options_(options),
      rules_(std::move(rules)),
      group_size_(static_cast<std::size_t>(options.width / options.groups)),
      groups_(static_cast<std::size_t>(options.groups)) {
  if (rules_.alternatives) {
    trace_.emplace(*rules_.alternatives);
  }
}

BeamSearch::Ending BeamSearch::ending_of(std::span<const text::TokenId> generated,
                                         text::TokenId token) const {
  if (std::ranges::find(rules_.end_tokens, token) != rules_.end_tokens.end()) {
    return {FinishReason::kEndToken, 0};
  }
  const std::size_t stop = completed_stop_word(rules_.stop_words, generated, token);
  return stop > 0 ? Ending{FinishReason::kStopWord, stop} : Ending{};
}

/// The place of the candidate's token in the trace.
std::int32_t BeamSearch::extend_trace(const Candidate& candidate) {
  if (!trace_) {
    return BeamTrace::kNothing;
  }
  const std::int32_t before =
      begun_ ? live_[static_cast<std::size_t>(candidate.beam)].place : BeamTrace::kNothing;
  return trace_->add(before, candidate.beam, candidate.token);
}

double BeamSearch::score_of(double log_probability, std::size_t length) const {
  return log_probability / std::pow(static_cast<double>(length), options_.length_penalty);
}

void BeamSearch::finish_candidate(Group& group, const Candidate& candidate, const Ending& ending,
                                  std::span<const text::TokenId> generated) {
  BeamHypothesis hypothesis;
  hypothesis.tokens.assign(generated.begin(), generated.end());
  hypothesis.tokens.push_back(candidate.token);
  hypothesis.score = score_of(candidate.score, hypothesis.tokens.size());
  hypothesis.finish = ending.finish;
  const std::size_t kept = hypothesis.tokens.size() - ending.cut;
  hypothesis.tokens.resize(kept);
  if (trace_) {
    hypothesis.trace = trace_->path(extend_trace(candidate));
    hypothesis.trace.log_probabilities.resize(kept);
    hypothesis.trace.alternatives.resize(std::min(hypothesis.trace.alternatives.size(), kept));
  }
  add(group, std::move(hypothesis));
}

/// `hypothesis.score` comes in as the sum of log-probabilities over its length^penalty.
void BeamSearch::add(Group& group, BeamHypothesis hypothesis) const {
  const auto worse = [](const BeamHypothesis& a, const BeamHypothesis& b) {
    return a.score < b.score;
  };
  if (group.finished.size() < group_size_) {
    group.finished.push_back(std::move(hypothesis));
    return;
  }
  const auto worst = std::ranges::min_element(group.finished, worse);
  if (hypothesis.score > worst->score) {
    group.finished.erase(worst);  // the others keep their order, for ties
    group.finished.push_back(std::move(hypothesis));
  }
}

bool BeamSearch::is_done(const Group& group, double best_score, std::size_t length) const {
  if (group.finished.size() < group_size_) {
    return false;
  }
  if (options_.early_stopping) {
    return true;
  }
  double worst = group.finished.front().score;
  for (const BeamHypothesis& hypothesis : group.finished) {
    worst = std::min(worst, hypothesis.score);
  }
  return worst >= score_of(best_score, length);
}

/// Hamming diversity: what earlier groups have just chosen becomes less probable.
void BeamSearch::avoid(std::span<const text::TokenId> chosen,
                       std::span<float> log_probabilities) const {
  for (const text::TokenId token : chosen) {
    log_probabilities[static_cast<std::size_t>(token)] -=
        static_cast<float>(options_.diversity_penalty);
  }
}

void BeamSearch::best_candidates(std::span<const std::int32_t> beams,
                                 tensor::MatrixView<float> log_probabilities) {
  // So many that, however many of a beam's best end it, enough of them go on.
  const std::size_t ends = rules_.end_tokens.size() + rules_.stop_words.size();
  const std::size_t wanted = std::max<std::size_t>(2, 1 + ends) * group_size_;
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) {
      return a.score > b.score;
    }
    return a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
  };
  candidates_.clear();
  for (const std::int32_t beam : beams) {
    const float* row = log_probabilities.row(beam);
    const double before = begun_ ? live_[static_cast<std::size_t>(beam)].score : 0.0;
    for (std::int64_t token = 0; token < log_probabilities.columns; ++token) {
      // Sums are f32 as in transformers, so that ties fall the same way.
      const double score = static_cast<float>(before) + row[token];
      if (candidates_.size() == wanted && !(score > candidates_.front().score)) {
        continue;
      }
      candidates_.push_back({score, beam, static_cast<text::TokenId>(token)});
      std::ranges::push_heap(candidates_, better);
      if (candidates_.size() > wanted) {
        std::ranges::pop_heap(candidates_, better);
        candidates_.pop_back();
      }
    }
  }
  std::ranges::sort(candidates_, better);
}

void BeamSearch::advance_group(std::int32_t group_index, std::span<const std::int32_t> beams,
                               tensor::MatrixView<float> log_probabilities,
                               std::span<const std::span<const text::TokenId>> generated,
                               std::vector<Live>& next) {
  Group& group = groups_[static_cast<std::size_t>(group_index)];
  best_candidates(beams, log_probabilities);
  const std::size_t length = generated[static_cast<std::size_t>(beams.front())].size() + 1;
  std::size_t taken = 0;
  for (std::size_t rank = 0; rank < candidates_.size() && taken < group_size_; ++rank) {
    const Candidate& candidate = candidates_[rank];
    const auto tokens = generated[static_cast<std::size_t>(candidate.beam)];
    const Ending ending = ending_of(tokens, candidate.token);
    if (ending.finish == FinishReason::kNone) {
      next.push_back(
          {candidate.beam, candidate.token, candidate.score, group_index, extend_trace(candidate)});
      ++taken;
    } else if (rank < group_size_) {
      finish_candidate(group, candidate, ending, tokens);
    }
  }
  const double best = candidates_.empty() ? 0.0 : candidates_.front().score;
  group.done = is_done(group, best, length);
}

void BeamSearch::advance(tensor::MatrixView<float> log_probabilities,
                         tensor::MatrixView<const float> own,
                         std::span<const std::span<const text::TokenId>> generated) {
  if (trace_) {
    trace_->begin_step(own);
  }
  std::vector<Live> next;
  std::vector<text::TokenId> chosen;
  std::vector<std::int32_t> beams;
  std::vector<float> first_row;
  if (!begun_ && options_.groups > 1) {  // the groups share one row, each with its own penalties
    first_row.assign(log_probabilities.row(0),
                     log_probabilities.row(0) + log_probabilities.columns);
  }
  for (std::int32_t group = 0; group < options_.groups; ++group) {
    if (groups_[static_cast<std::size_t>(group)].done) {
      chosen.insert(chosen.end(), group_size_, rules_.pad_token);
      continue;
    }
    beams.clear();
    for (std::size_t beam = 0; beam < generated.size(); ++beam) {
      if (!begun_ || live_[beam].group == group) {
        beams.push_back(static_cast<std::int32_t>(beam));
      }
    }
    if (beams.empty()) {
      continue;  // all that could go on has ended, though another group goes on
    }
    if (!begun_ && group > 0) {
      std::ranges::copy(first_row, log_probabilities.row(0));
    }
    for (const std::int32_t beam : beams) {
      avoid(chosen,
            {log_probabilities.row(beam), static_cast<std::size_t>(log_probabilities.columns)});
    }
    const std::size_t from = next.size();
    advance_group(group, beams, log_probabilities, generated, next);
    for (std::size_t beam = from; beam < next.size(); ++beam) {
      chosen.push_back(next[beam].token);
    }
    if (groups_[static_cast<std::size_t>(group)].done) {
      next.resize(from);
    }
  }
  live_ = std::move(next);
  begun_ = true;
}

std::vector<BeamHypothesis> BeamSearch::finish(
    std::span<const std::span<const text::TokenId>> generated, int count) {
  for (std::size_t beam = 0; beam < live_.size(); ++beam) {
    Group& group = groups_[static_cast<std::size_t>(live_[beam].group)];
    BeamHypothesis hypothesis;
    hypothesis.tokens.assign(generated[beam].begin(), generated[beam].end());
    hypothesis.score = score_of(live_[beam].score, hypothesis.tokens.size());
    if (trace_) {
      hypothesis.trace = trace_->path(live_[beam].place);
    }
    add(group, std::move(hypothesis));
  }
  std::vector<BeamHypothesis> all;
  for (Group& group : groups_) {
    std::ranges::move(group.finished, std::back_inserter(all));
  }
  // The later of equal ones first, as popping from a stable ascending sort.
  std::ranges::reverse(all);
  std::ranges::stable_sort(
      all, [](const BeamHypothesis& a, const BeamHypothesis& b) { return a.score > b.score; });
  all.resize(std::min(all.size(), static_cast<std::size_t>(count)));
  return all;
}

}  // namespace gamelan::infer
