#pragma once

#include <span>
#include <vector>

#include "tensor/matrix_view.h"

namespace gamelan::kernels::reference {

/// One sequence: queries [rows, heads * head_dim] stand at `position` and after it, keys and values
/// [tokens, kv_heads * head_dim] from position 0.
struct AttentionProblem {
  tensor::MatrixView<const float> queries;
  tensor::MatrixView<const float> keys;
  tensor::MatrixView<const float> values;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t position = 0;
  double scale = 1.0;
  std::span<const float> alibi_slopes = {};
  /// 0 = all keys.
  std::int64_t window = 0;
  /// Whether a query sees only the keys up to its own.
  bool causal = true;
};

/// softmax(scale q k^T + alibi) v by its definition, in double: [rows, heads * head_dim].
std::vector<double> attention(const AttentionProblem& problem);

}  // namespace gamelan::kernels::reference
