#include "kernels/reference/attention.h"

#include <algorithm>
#include <cmath>

namespace gamelan::kernels::reference {
namespace {

void attend(const AttentionProblem& problem, std::int64_t row, std::int64_t head,
            std::int64_t head_dim, double* out) {
  const std::int64_t position = problem.position + row;
  const std::int64_t end = problem.causal ? position + 1 : problem.keys.rows;
  const std::int64_t begin =
      problem.window > 0 ? std::max<std::int64_t>(0, position - problem.window + 1) : 0;
  const std::int64_t kv_column = head / (problem.heads / problem.kv_heads) * head_dim;
  const float* const query = problem.queries.row(row) + head * head_dim;
  std::vector<double> scores;
  for (std::int64_t key = begin; key < end; ++key) {
    double score = 0;
    for (std::int64_t i = 0; i < head_dim; ++i) {
      score += static_cast<double>(query[i]) * problem.keys.row(key)[kv_column + i];
    }
    score *= problem.scale;
    if (!problem.alibi_slopes.empty()) {
      score += problem.alibi_slopes[head] * static_cast<double>(key - position);
    }
    scores.push_back(score);
  }
  const double maximum = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) {
    score = std::exp(score - maximum);
    sum += score;
  }
  for (std::int64_t i = 0; i < head_dim; ++i) {
    out[i] = 0;
    for (std::int64_t key = begin; key < end; ++key) {
      out[i] += scores[key - begin] / sum * problem.values.row(key)[kv_column + i];
    }
  }
}

}  // namespace

std::vector<double> attention(const AttentionProblem& problem) {
  const std::int64_t columns = problem.queries.columns;
  const std::int64_t head_dim = columns / problem.heads;
  std::vector<double> out(problem.queries.rows * columns);
  for (std::int64_t row = 0; row < problem.queries.rows; ++row) {
    for (std::int64_t head = 0; head < problem.heads; ++head) {
      attend(problem, row, head, head_dim, out.data() + row * columns + head * head_dim);
    }
  }
  return out;
}

}  // namespace gamelan::kernels::reference
