#include "infer/layers/block.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace gamelan::infer {
namespace {

using kernels::cpu::LinearActivation;
using kernels::cpu::LinearOptions;
using tensor::MatrixView;

LinearActivation linear_activation(io::Activation activation) {
  switch (activation) {
    case io::Activation::kGelu:
      return LinearActivation::kGelu;
    case io::Activation::kGeluTanh:
      return LinearActivation::kGeluTanh;
    case io::Activation::kRelu:
      return LinearActivation::kRelu;
    case io::Activation::kSilu:
      break;
  }
  return LinearActivation::kSilu;
}

MatrixView<float> columns_of(MatrixView<float> x, std::int64_t first, std::int64_t count) {
  return {x.data + first, x.rows, count, x.stride};
}

void keep(std::span<const std::int32_t> rows, MatrixView<float>& x) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::memmove(x.row(static_cast<std::int64_t>(i)), x.row(rows[i]),
                 static_cast<std::size_t>(x.columns) * sizeof(float));
  }
  x.rows = static_cast<std::int64_t>(rows.size());
}

}  // namespace

Activations Activations::take(device::Arena& arena, std::int64_t rows, const BlockShape& shape) {
  const std::int64_t qkv = rows * shape.qkv_width();
  const std::int64_t attention = rows * shape.attention_width();
  const std::int64_t mlp = rows * shape.mlp_width;
  auto* const shared = arena.take<float>(std::max(qkv + attention, mlp));
  return {{arena.take<float>(rows * shape.hidden), rows, shape.hidden},
          {arena.take<float>(rows * shape.hidden), rows, shape.hidden},
          {shared, rows, shape.qkv_width()},
          {shared + qkv, rows, shape.attention_width()},
          {shared, rows, shape.mlp_width}};
}

std::size_t Activations::bytes(std::int64_t rows, const BlockShape& shape) {
  const std::int64_t shared =
      std::max(shape.qkv_width() + shape.attention_width(), shape.mlp_width);
  const auto floats = [&](std::int64_t columns) {
    return device::Arena::rounded(static_cast<std::size_t>(rows * columns) * sizeof(float));
  };
  return floats(shared) + 2 * floats(shape.hidden);
}

void Activations::keep_rows(std::span<const std::int32_t> rows) {
  keep(rows, x);
  keep(rows, normed);
  keep(rows, attention);
  mlp.rows = x.rows;
  qkv.rows = x.rows;
}

Block::Block(const io::ModelConfig& config, const BlockShape& shape, bool adds_residual,
             Weights weights)
    : shape_(shape),
      norm_before_(config.norm_before),
      residual_after_norm_(config.residual_after_norm),
      parallel_residual_(config.parallel_residual),
      adds_residual_(adds_residual),
      up_options_{.activation = linear_activation(config.activation), .gated = config.gated_mlp},
      weights_(std::move(weights)) {}

void Block::attend(const kernels::Context& context, std::int64_t layer, LayerAttention& attention,
                   Activations& a) const {
  if (norm_before_) {
    weights_.attention_norm(context, a.x, a.normed);
  }
  weights_.qkv(context, norm_before_ ? a.normed : a.x, a.qkv);
  const std::int64_t queries = shape_.attention_width();
  const std::int64_t keys = shape_.kv_heads * shape_.head_dim;
  attention.attend(layer, columns_of(a.qkv, 0, queries), columns_of(a.qkv, queries, keys),
                   columns_of(a.qkv, queries + keys, keys), a.attention);
}

// Over several ranks x becomes the sum of their shares. The first rank's share contains x itself
// and the bias (others have none), so that both are added once and the sum is all there is to do.
void Block::add_share(const kernels::Context& context, const Projection& projection,
                      MatrixView<const float> input, MatrixView<float> x) const {
  projection(context, input, x, {.accumulate = adds_residual_});
}

base::Status Block::finish_side_by_side(const kernels::Context& context, const TensorSum& sum,
                                        Activations& a) const {
  weights_.mlp_norm(context, a.x, a.normed);
  add_share(context, weights_.attention_output, a.attention, a.x);
  weights_.up(context, a.normed, a.mlp, up_options_);
  weights_.down(context, a.mlp, a.x, {.accumulate = true});
  return sum(a.x);
}

base::Status Block::finish(const kernels::Context& context, const TensorSum& sum,
                           Activations& a) const {
  if (a.x.rows == 0) {
    return base::OkStatus();
  }
  if (parallel_residual_) {
    return finish_side_by_side(context, sum, a);
  }
  if (residual_after_norm_) {
    std::swap(a.x, a.normed);
  }
  add_share(context, weights_.attention_output, a.attention, a.x);
  GAMELAN_RETURN_IF_ERROR(sum(a.x));
  if (norm_before_) {
    weights_.mlp_norm(context, a.x, a.normed);
  } else {
    weights_.attention_norm(context, a.x, a.x);
  }
  weights_.up(context, norm_before_ ? a.normed : a.x, a.mlp, up_options_);
  if (residual_after_norm_) {
    std::swap(a.x, a.normed);
  }
  add_share(context, weights_.down, a.mlp, a.x);
  GAMELAN_RETURN_IF_ERROR(sum(a.x));
  if (!norm_before_) {
    weights_.mlp_norm(context, a.x, a.x);
  }
  return base::OkStatus();
}

std::size_t Block::workspace_bytes(std::int64_t rows) const {
  std::size_t most = 0;
  for (const Projection* projection :
       {&weights_.qkv, &weights_.attention_output, &weights_.up, &weights_.down}) {
    most = std::max(most, kernels::cpu::linear_workspace_bytes(projection->weight, rows));
  }
  return most;
}

std::size_t Block::size_bytes() const {
  return weights_.attention_norm.size_bytes() + weights_.qkv.size_bytes() +
         weights_.attention_output.size_bytes() + weights_.mlp_norm.size_bytes() +
         weights_.up.size_bytes() + weights_.down.size_bytes();
}

}  // namespace gamelan::infer
