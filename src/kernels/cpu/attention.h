#pragma once

// Attention over a paged cache of keys and values. Scores are never materialised: prefill works in
// tiles with a running maximum and sum (Milakov and Gimelshein 2018; Dao et al. 2022), decoding
// splits the cache over the threads and joins the parts (Dao et al. 2023, "Flash-Decoding").

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/context.h"
#include "tensor/dtype.h"
#include "tensor/matrix_view.h"

namespace gamelan::kernels::cpu {

/// How one layer's keys and values of `block_tokens` consecutive tokens lie in memory. Whoever owns
/// the cache sees a block as bytes: it may be copied, sent and stored as a whole.
struct KvLayout {
  /// kF32, kBF16, kF16, or kI8 with one f32 scale for each token and head.
  tensor::DType dtype = tensor::DType::kF32;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t block_tokens = 16;

  /// Bytes of a block, keys and values together, padded to 64.
  std::size_t block_bytes() const;
};

/// One layer's blocks: block b begins at data + b * layout.block_bytes().
struct KvBlocks {
  KvLayout layout;
  std::byte* data = nullptr;
};

/// The rows of one sequence in a step. Token `position + i` of the sequence is row `first_row + i`;
/// its keys and values belong into block table[position / block_tokens].
struct SequenceRows {
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  /// Of the first of these rows: the tokens that the cache holds already.
  std::int64_t position = 0;
  std::span<const std::int32_t> table;
};

/// Writes the keys and values [rows, kv_heads * head_dim] of a step into the cache.
void append_kv(const Context& context, tensor::MatrixView<const float> keys,
               tensor::MatrixView<const float> values, std::span<const SequenceRows> sequences,
               const KvBlocks& cache);

struct AttentionOptions {
  std::int64_t heads = 0;
  /// Multiplies q.k before anything is added.
  float scale = 1.0F;
  /// ALiBi: heads numbers, or empty. The score of query position p and key position j gets
  /// slope * (j - p).
  std::span<const float> alibi_slopes;
  /// A query sees the `window` last keys, itself included; 0 = all.
  std::int64_t window = 0;
};

/// out [rows, heads * head_dim] = softmax(scale * q k^T + alibi) v for every row, over the keys at
/// positions up to its own. Query head h reads key head h / (heads / kv_heads). The keys of the
/// step must be in the cache: append_kv comes first. A row's result does not depend on the other
/// rows of the step, on how a prompt was cut into steps, or on the number of threads.
void attention(const Context& context, tensor::MatrixView<const float> queries,
               std::span<const SequenceRows> sequences, const KvBlocks& cache,
               const AttentionOptions& options, tensor::MatrixView<float> out);

/// The most that attention() takes of the workspace for `rows` rows whose sequences have `blocks`
/// blocks in all.
std::size_t attention_workspace_bytes(const Context& context, const KvLayout& layout,
                                      std::int64_t heads, std::int64_t rows, std::int64_t blocks);

/// Attention of an encoder, without a cache: every token of a sequence sees all of its tokens.
/// Sequence s has the rows offsets[s] … offsets[s + 1] - 1. queries, keys, values and out:
/// [rows, heads * head_dim].
void attention_packed(const Context& context, tensor::MatrixView<const float> queries,
                      tensor::MatrixView<const float> keys, tensor::MatrixView<const float> values,
                      std::span<const std::int64_t> offsets, std::int64_t heads, float scale,
                      tensor::MatrixView<float> out);

}  // namespace gamelan::kernels::cpu
