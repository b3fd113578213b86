#include "infer/sampling/beam_search.h"

#include <algorithm>
#include <cmath>

namespace gamelan::infer {

BeamSearch::BeamSearch(const BeamOptions& options, std::vector<text::TokenId> end_tokens,
                       text::TokenId pad_token)
    : options_(options),
      end_tokens_(std::move(end_tokens)),
      pad_token_(pad_token),
      group_size_(static_cast<std::size_t>(options.width / options.groups)),
      groups_(static_cast<std::size_t>(options.groups)) {}

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
  return worst >= best_score / std::pow(static_cast<double>(length), options_.length_penalty);
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
  const std::size_t wanted = std::max<std::size_t>(2, 1 + end_tokens_.size()) * group_size_;
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
    if (std::ranges::find(end_tokens_, candidate.token) == end_tokens_.end()) {
      next.push_back({candidate.beam, candidate.token, candidate.score, group_index});
      ++taken;
    } else if (rank < group_size_) {
      BeamHypothesis hypothesis;
      const auto tokens = generated[static_cast<std::size_t>(candidate.beam)];
      hypothesis.tokens.assign(tokens.begin(), tokens.end());
      hypothesis.tokens.push_back(candidate.token);
      hypothesis.score =
          candidate.score / std::pow(static_cast<double>(length), options_.length_penalty);
      hypothesis.finish = FinishReason::kEndToken;
      add(group, std::move(hypothesis));
    }
  }
  const double best = candidates_.empty() ? 0.0 : candidates_.front().score;
  group.done = is_done(group, best, length);
}

void BeamSearch::advance(tensor::MatrixView<float> log_probabilities,
                         std::span<const std::span<const text::TokenId>> generated) {
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
      chosen.insert(chosen.end(), group_size_, pad_token_);
      continue;
    }
    beams.clear();
    for (std::size_t beam = 0; beam < generated.size(); ++beam) {
      if (!begun_ || live_[beam].group == group) {
        beams.push_back(static_cast<std::int32_t>(beam));
      }
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
    hypothesis.score = live_[beam].score / std::pow(static_cast<double>(hypothesis.tokens.size()),
                                                    options_.length_penalty);
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
