#include "infer/sampling/beam_trace.h"

#include <algorithm>
#include <span>

#include "infer/sampling/sampler.h"

namespace gamelan::infer {

void BeamTrace::begin_step(tensor::MatrixView<const float> log_probabilities) {
  step_ = log_probabilities;
  first_row_ = rows_.size();
  for (std::int64_t beam = 0; count_ > 0 && beam < step_.rows; ++beam) {
    rows_.push_back(best_tokens({step_.row(beam), static_cast<std::size_t>(step_.columns)},
                                /*normaliser=*/0.0, count_));
  }
}

std::int32_t BeamTrace::add(std::int32_t before, std::int32_t beam, text::TokenId token) {
  nodes_.push_back({before, step_.row(beam)[token], first_row_ + static_cast<std::size_t>(beam)});
  return static_cast<std::int32_t>(nodes_.size()) - 1;
}

BeamTrace::Path BeamTrace::path(std::int32_t place) const {
  Path path;
  while (place != kNothing) {
    const Node& node = nodes_[static_cast<std::size_t>(place)];
    path.log_probabilities.push_back(node.log_probability);
    if (count_ > 0) {
      path.alternatives.push_back(rows_[node.row]);
    }
    place = node.before;
  }
  std::ranges::reverse(path.log_probabilities);
  std::ranges::reverse(path.alternatives);
  return path;
}

}  // namespace gamelan::infer
