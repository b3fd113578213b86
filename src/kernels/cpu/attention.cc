#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/status.h"
#include "kernels/cpu/attention_kernels.h"

namespace gamelan::kernels::cpu {
namespace detail {

HeadLayout::HeadLayout(const KvLayout& layout)
    : subtiles(ceil_div(layout.block_tokens, kSubtile)),
      depth(ceil_div(layout.head_dim, 2) * 2),
      width(ceil_div(layout.head_dim, 16) * 16),
      key_bytes(depth * kSubtile * tensor::size_of(layout.dtype)),
      value_bytes(width * kSubtile * tensor::size_of(layout.dtype)),
      scale_offset(subtiles * (key_bytes + value_bytes)),
      head_bytes(scale_offset + (layout.dtype == tensor::DType::kI8
                                     ? subtiles * kSubtile * 2 * sizeof(float)
                                     : 0)),
      block_bytes(ceil_div(static_cast<std::int64_t>(head_bytes) * layout.kv_heads, 64) * 64) {}

std::size_t scratch_bytes(const KvLayout& layout) {
  const HeadLayout head(layout);
  const std::int64_t floats =
      kMaxVectors * (head.depth + 2 * kGroup * kSubtile + state_size(head.width)) +
      kGroup * kSubtile * (head.depth + head.width);
  return (ceil_div(floats, 16) + 8) * 64;
}

const AttentionKernels& attention_kernels(IsaLevel level) {
  switch (level) {
    case IsaLevel::kScalar:
      return kAttentionScalar;
    case IsaLevel::kAvx2:
      return kAttentionAvx2;
    case IsaLevel::kAvx512:
      return kAttentionAvx512;
    case IsaLevel::kAvx512Bf16:
    case IsaLevel::kAmx:
      break;
  }
  return kAttentionAvx512Bf16;
}

}  // namespace detail

namespace {

using detail::AttentionTask;
using detail::ceil_div;
using detail::HeadLayout;
using detail::kMaxVectors;
using detail::kPart;

/// Up to so many query vectors the cache's reading outweighs the sums, and its parts are shared
/// out.
constexpr std::int64_t kSplitVectors = 8;

/// A task's place in the output, and its parts' states: one a part, or one for all.
struct Placed {
  AttentionTask task;
  float* out = nullptr;  // at the first row and head of the task
  std::int64_t states = 1;
  std::int64_t first_vector = 0;  // of its states, in units of a vector's state
};

std::int64_t part_count(const AttentionTask& task, const HeadLayout& head) {
  const std::int64_t tokens = task.cache.layout.block_tokens;
  const std::int64_t last = task.keys - 1;
  const std::int64_t subtile = last / tokens * head.subtiles + last % tokens / detail::kSubtile;
  return subtile / kPart + 1;
}

/// The rows of `sequence` in tasks of at most kMaxVectors query vectors.
void place_sequence(const AttentionTask& common, const SequenceRows& sequence,
                    tensor::MatrixView<const float> queries, const AttentionOptions& options,
                    tensor::MatrixView<float> out, std::vector<Placed>& placed) {
  const KvLayout& layout = common.cache.layout;
  const HeadLayout head(layout);
  const std::int64_t group = options.heads / layout.kv_heads;
  const std::int64_t slice = std::min(group, kMaxVectors);
  const std::int64_t tile = kMaxVectors / slice;
  for (std::int64_t row = 0; row < sequence.rows; row += tile) {
    for (std::int64_t first = 0; first < options.heads;) {
      const std::int64_t kv_head = first / group;
      const std::int64_t end = std::min(first + slice, (kv_head + 1) * group);
      Placed next{common};
      AttentionTask& task = next.task;
      const std::int64_t column = first * layout.head_dim;
      task.queries = queries.row(sequence.first_row + row) + column;
      next.out = out.row(sequence.first_row + row) + column;
      task.query_stride = queries.stride;
      task.rows = std::min(tile, sequence.rows - row);
      task.group = end - first;
      task.slopes = options.alibi_slopes.empty() ? nullptr : options.alibi_slopes.data() + first;
      task.position = sequence.position + row;
      task.keys = sequence.position + (task.causal ? row + task.rows : sequence.rows);
      task.table = sequence.table.data();
      task.kv_head = kv_head;
      task.end_part = part_count(task, head);
      if (task.window > 0 && task.position >= task.window) {
        AttentionTask oldest = task;
        oldest.keys = task.position - task.window + 2;
        task.first_part = part_count(oldest, head) - 1;
      }
      next.states =
          task.vectors() <= kSplitVectors ? task.end_part - task.first_part : std::int64_t{1};
      placed.push_back(next);
      first = end;
    }
  }
}

void write_out(const Placed& placed, const HeadLayout& head, std::int64_t out_stride,
               const float* state) {
  const std::int64_t head_dim = placed.task.cache.layout.head_dim;
  for (std::int64_t vector = 0; vector < placed.task.vectors(); ++vector) {
    const float inverse = 1.0F / state[1];
    float* const out = placed.out + vector / placed.task.group * out_stride +
                       vector % placed.task.group * head_dim;
    for (std::int64_t i = 0; i < head_dim; ++i) {
      out[i] = state[16 + i] * inverse;
    }
    state += detail::state_size(head.width);
  }
}

void run_all(const Context& context, const KvLayout& layout, std::vector<Placed>& placed,
             std::int64_t out_stride) {
  const HeadLayout head(layout);
  const detail::AttentionKernels& kernels = detail::attention_kernels(isa_level());
  const std::int64_t size = detail::state_size(head.width);
  struct Item {
    std::int64_t placed;
    std::int64_t part;
  };
  std::vector<Item> items;
  std::int64_t vectors = 0;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    placed[i].first_vector = vectors;
    vectors += placed[i].states * placed[i].task.vectors();
    for (std::int64_t part = 0; part < placed[i].states; ++part) {
      items.push_back({static_cast<std::int64_t>(i), part});
    }
  }
  const device::Arena::Scope scope(*context.workspace);
  auto* const states = context.workspace->take<float>(vectors * size);
  const std::size_t scratch_size = ceil_div(detail::scratch_bytes(layout), 64) * 64;
  auto* const scratch = static_cast<std::byte*>(
      context.workspace->take_bytes(scratch_size * context.threads->size()));
  const auto count = static_cast<std::int64_t>(items.size());
  context.threads->parallel_for_dynamic(
      count, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
        for (std::int64_t at = begin; at < end; ++at) {
          const Placed& whole = placed[items[at].placed];
          AttentionTask task = whole.task;
          if (whole.states > 1) {
            task.first_part += items[at].part;
            task.end_part = task.first_part + 1;
          }
          float* const state =
              states + (whole.first_vector + items[at].part * task.vectors()) * size;
          std::fill_n(state, task.vectors() * size, 0.0F);
          for (std::int64_t vector = 0; vector < task.vectors(); ++vector) {
            state[vector * size] = -INFINITY;
          }
          kernels.run(task, state, scratch + scratch_size * thread);
          if (whole.states == 1) {
            write_out(whole, head, out_stride, state);
          }
        }
      });
  for (const Placed& whole : placed) {
    float* const state = states + whole.first_vector * size;
    for (std::int64_t part = 1; part < whole.states; ++part) {
      kernels.merge(whole.task.vectors(), head.width, state + part * whole.task.vectors() * size,
                    state);
    }
    if (whole.states > 1) {
      write_out(whole, head, out_stride, state);
    }
  }
}

}  // namespace

std::size_t KvLayout::block_bytes() const {
  return HeadLayout(*this).block_bytes;
}

void attention(const Context& context, tensor::MatrixView<const float> queries,
               std::span<const SequenceRows> sequences, const KvBlocks& cache,
               const AttentionOptions& options, tensor::MatrixView<float> out) {
  const KvLayout& layout = cache.layout;
  GAMELAN_CHECK(layout.kv_heads > 0 && options.heads % layout.kv_heads == 0,
                "kv_heads divides the number of query heads");
  GAMELAN_CHECK(
      queries.columns == options.heads * layout.head_dim && out.columns == queries.columns,
      "queries and out have heads * head_dim columns");
  AttentionTask common;
  common.scale = options.scale;
  common.window = options.window;
  common.cache = cache;
  std::vector<Placed> placed;
  for (const SequenceRows& sequence : sequences) {
    place_sequence(common, sequence, queries, options, out, placed);
  }
  run_all(context, layout, placed, out.stride);
}

void attention_packed(const Context& context, tensor::MatrixView<const float> queries,
                      tensor::MatrixView<const float> keys, tensor::MatrixView<const float> values,
                      std::span<const std::int64_t> offsets, std::int64_t heads, float scale,
                      tensor::MatrixView<float> out) {
  GAMELAN_CHECK(heads > 0 && queries.columns % heads == 0, "heads divides the columns of queries");
  KvBlocks cache;
  cache.layout.kv_heads = heads;
  cache.layout.head_dim = queries.columns / heads;
  const std::int64_t tokens = cache.layout.block_tokens;
  std::vector<SequenceRows> sequences;
  std::vector<std::int32_t> table;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    const std::int64_t rows = offsets[i + 1] - offsets[i];
    sequences.push_back({offsets[i], rows, static_cast<std::int64_t>(table.size()), {}});
    for (std::int64_t block = 0; block < ceil_div(rows, tokens); ++block) {
      table.push_back(static_cast<std::int32_t>(table.size()));
    }
  }
  for (SequenceRows& sequence : sequences) {  // the table no longer moves
    sequence.table = std::span(table).subspan(sequence.position);
    sequence.position = 0;
  }
  const device::Arena::Scope scope(*context.workspace);
  cache.data = static_cast<std::byte*>(
      context.workspace->take_bytes(cache.layout.block_bytes() * table.size()));
  append_kv(context, keys, values, sequences, cache);
  AttentionTask common;
  common.scale = scale;
  common.causal = false;
  common.cache = cache;
  AttentionOptions options;
  options.heads = heads;
  std::vector<Placed> placed;
  for (const SequenceRows& sequence : sequences) {
    place_sequence(common, sequence, queries, options, out, placed);
  }
  run_all(context, cache.layout, placed, out.stride);
}

}  // namespace gamelan::kernels::cpu
