#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "device/arena.h"
#include "infer/layers/norm.h"
#include "infer/layers/projection.h"
#include "infer/parallel/tensor_sum.h"
#include "io/model_config.h"
#include "kernels/context.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// The sizes of a block as one rank computes it.
struct BlockShape {
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t mlp_width = 0;

  std::int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
  std::int64_t attention_width() const { return heads * head_dim; }
};

/// The rows that pass through the blocks of one step, and what the blocks need on their way; all
/// blocks use the same memory.
struct Activations {
  tensor::MatrixView<float> x;          // [rows, hidden]: the residual stream
  tensor::MatrixView<float> normed;     // [rows, hidden]
  tensor::MatrixView<float> qkv;        // [rows, qkv_width]
  tensor::MatrixView<float> attention;  // [rows, attention_width]
  tensor::MatrixView<float> mlp;        // [rows, mlp_width]: where qkv and attention were

  static Activations take(device::Arena& arena, std::int64_t rows, const BlockShape& shape);
  /// What take() takes.
  static std::size_t bytes(std::int64_t rows, const BlockShape& shape);
  /// Goes on with these rows alone. REQUIRES: they rise.
  void keep_rows(std::span<const std::int32_t> rows);
};

/// What stands between the projections: a decoder's attention over its cache, an encoder's over its
/// sequences.
class LayerAttention {
 public:
  virtual ~LayerAttention() = default;
  /// queries [rows, heads * head_dim], keys and values [rows, kv_heads * head_dim] of block `layer`
  /// (of this rank), which it may change; out [rows, heads * head_dim].
  virtual void attend(std::int64_t layer, tensor::MatrixView<float> queries,
                      tensor::MatrixView<float> keys, tensor::MatrixView<float> values,
                      tensor::MatrixView<float> out) = 0;
};

/// A transformer's block, described by its parts (io::ModelConfig): attention and MLP, their norms
/// before or after, one after the other or side by side. Runs in two halves, so that between them
/// rows can be left out. Immutable.
class Block {
 public:
  struct Weights {
    Norm attention_norm;
    /// Queries, keys and values joined: [qkv_width, hidden].
    Projection qkv;
    Projection attention_output;  // [hidden, attention_width]
    Norm mlp_norm;
    /// [mlp_width, hidden], or gate and values woven as kernels::cpu::gated_row says:
    /// [2 * mlp_width, hidden].
    Projection up;
    Projection down;  // [hidden, mlp_width]
  };

  /// `adds_residual`: this rank's share of the sums over ranks contains the residual.
  Block(const io::ModelConfig& config, const BlockShape& shape, bool adds_residual,
        Weights weights);

  /// From the rows in `a.x` to the result of attention in `a.attention`.
  void attend(const kernels::Context& context, std::int64_t layer, LayerAttention& attention,
              Activations& a) const;
  /// From there to the block's output in `a.x`.
  base::Status finish(const kernels::Context& context, const TensorSum& sum, Activations& a) const;

  std::size_t size_bytes() const;
  /// What its products take of the workspace.
  std::size_t workspace_bytes(std::int64_t rows) const;

 private:
  base::Status finish_side_by_side(const kernels::Context& context, const TensorSum& sum,
                                   Activations& a) const;
  void add_share(const kernels::Context& context, const Projection& projection,
                 tensor::MatrixView<const float> input, tensor::MatrixView<float> x) const;

  BlockShape shape_;
  bool norm_before_;
  bool residual_after_norm_;
  bool parallel_residual_;
  bool adds_residual_;
  kernels::cpu::LinearOptions up_options_;
  Weights weights_;
};

}  // namespace gamelan::infer
