#include "infer/sampling/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "infer/sampling/philox.h"

namespace gamelan::infer {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

/// Eight running maxima, which the compiler keeps in one or two registers; NaN never wins.
float largest(std::span<const float> values) {
  std::array<float, 8> lanes;
  lanes.fill(kLowest);
  std::size_t i = 0;
  for (; i + lanes.size() <= values.size(); i += lanes.size()) {
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
      lanes[lane] = values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
    }
  }
  for (; i < values.size(); ++i) {
    lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
  }
  return *std::ranges::max_element(lanes);
}

/// As a stable ascending sort orders them, from the end.
bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token > b.token;
}

}  // namespace

std::optional<text::TokenId> largest_logit(std::span<const float> logits) {
  const float best = largest(logits);
  if (!std::isfinite(best)) {
    return std::nullopt;
  }
  return static_cast<text::TokenId>(std::ranges::find(logits, best) - logits.begin());
}

double log_sum_exp(std::span<const float> logits) {
  const float best = largest(logits);
  if (!std::isfinite(best)) {
    return best;
  }
  double sum = 0.0;
  for (const float logit : logits) {
    sum += std::exp(logit - best);
  }
  return best + std::log(sum);
}

std::vector<TokenAlternative> best_tokens(std::span<const float> logits, double normaliser,
                                          int count) {
  const auto wanted = std::min(static_cast<std::size_t>(std::max(count, 0)), logits.size());
  // A heap whose front is the worst of the best so far.
  std::vector<TokenAlternative> best;
  best.reserve(wanted + 1);
  const auto better = [](const TokenAlternative& a, const TokenAlternative& b) {
    return a.log_probability != b.log_probability ? a.log_probability > b.log_probability
                                                  : a.token < b.token;
  };
  for (std::size_t i = 0; i < logits.size() && wanted > 0; ++i) {
    if (best.size() == wanted && !(logits[i] > best.front().log_probability)) {
      continue;
    }
    best.push_back({static_cast<text::TokenId>(i), logits[i]});
    std::ranges::push_heap(best, better);
    if (best.size() > wanted) {
      std::ranges::pop_heap(best, better);
      best.pop_back();
    }
  }
  std::ranges::sort(best, better);
  for (TokenAlternative& alternative : best) {
    alternative.log_probability =
        static_cast<float>(static_cast<double>(alternative.log_probability) - normaliser);
  }
  return best;
}

float Sampler::top_k_threshold(int k, std::span<const float> logits) {
  if (k <= 0 || static_cast<std::size_t>(k) >= logits.size()) {
    return kLowest;
  }
  selection_.assign(logits.begin(), logits.end());
  std::ranges::replace_if(
      selection_, [](float value) { return std::isnan(value); }, kLowest);
  const auto kth = selection_.begin() + (k - 1);
  std::ranges::nth_element(selection_, kth, std::greater<>());
  return *kth;
}

/// Keeps each candidate before which less than `top_p` of the mass lies. Halves the range in which
/// the border lies by selection: linear on average.
void Sampler::keep_top_p(double top_p) {
  double total = 0.0;
  for (const Candidate& candidate : candidates_) {
    total += candidate.weight;
  }
  double left = top_p * total;  // the mass that may lie before the last one kept
  auto begin = candidates_.begin();
  auto end = candidates_.end();
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, before);
    double mass = 0.0;
    for (auto candidate = begin; candidate != middle; ++candidate) {
      mass += candidate->weight;
    }
    if (mass < left) {
      left -= mass;
      begin = middle;
    } else {
      end = middle;
    }
  }
  candidates_.erase(end, candidates_.end());
}

std::span<const Candidate> Sampler::candidates(const SamplingOptions& options,
                                               std::span<const float> logits) {
  candidates_.clear();
  const float best = largest(logits);
  if (!std::isfinite(best)) {
    return candidates_;
  }
  const auto temperature = static_cast<float>(options.temperature);
  float threshold = top_k_threshold(options.top_k, logits);
  if (options.min_p > 0.0 && options.top_p >= 1.0) {
    // Nothing looks at the others any more; a little lower, for the exact test below.
    threshold =
        std::max(threshold,
                 best + static_cast<float>(std::log(options.min_p) * 1.0001 - 1e-4) * temperature);
  }
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] >= threshold && logits[i] > kLowest) {
      // The difference first: a low temperature makes logits infinite, but the best one's weight 1.
      candidates_.push_back(
          {logits[i], std::exp((logits[i] - best) / temperature), static_cast<text::TokenId>(i)});
    }
  }
  if (options.top_p < 1.0) {
    keep_top_p(options.top_p);
  }
  if (options.min_p > 0.0) {
    std::erase_if(candidates_,
                  [&](const Candidate& c) { return c.weight < static_cast<float>(options.min_p); });
  }
  return candidates_;
}

std::optional<text::TokenId> Sampler::choose(const SamplingOptions& options, const DrawPlace& place,
                                             std::span<const float> logits) {
  if (static_cast<float>(options.temperature) <= 0.0F) {
    return largest_logit(logits);
  }
  std::optional<text::TokenId> winner;
  double best = std::numeric_limits<double>::infinity();
  std::uint32_t quad = ~0U;
  std::array<std::uint32_t, 4> random{};
  for (const Candidate& candidate : candidates(options, logits)) {
    const auto token = static_cast<std::uint32_t>(candidate.token);
    if (token / 4 != quad) {
      quad = token / 4;
      random = philox(place.seed, {quad, place.position, place.text, 0});
    }
    if (candidate.weight <= 0.0F) {
      continue;  // too improbable for a float
    }
    const double uniform = (random[token % 4] + 0.5) * 0x1p-32;
    // -log(u) >= 1 - u spares the logarithm for nearly all.
    if (1.0 - uniform >= best * candidate.weight) {
      continue;
    }
    const double time = -std::log(uniform) / candidate.weight;
    if (time < best || (time == best && candidate.token < *winner)) {
      best = time;
      winner = candidate.token;
    }
  }
  return winner;
}

}  // namespace gamelan::infer
