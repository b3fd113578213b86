#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <numeric>
#include <span>

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
    case IsaLevel::kAvx512Vnni:
      return kAttentionAvx512;
    case IsaLevel::kAvx512Bf16:
      return kAttentionAvx512Bf16;
    case IsaLevel::kAmx:
      break;
  }
  return kAttentionAmx;
}

}  // namespace detail

namespace {

using detail::AttentionTask;
using detail::ceil_div;
using detail::HeadLayout;
using detail::kMaxVectors;
using detail::kPart;

/// A task's place in the output, and its parts' states: one a part, or one for all. Lies in the
/// workspace, like all lists of a call.
struct Placed {
  AttentionTask task;
  float* out = nullptr;  // at the first row and head of the task
  std::int64_t states = 1;
  std::int64_t first_vector = 0;  // of its states, in units of a vector's state
};

std::int64_t part_count(const AttentionTask& task, const HeadLayout& head) {
  return detail::subtile_of(task, head, task.keys - 1) / kPart + 1;
}

/// How the rows and query heads of a sequence are cut: `tile` rows times up to `slice` of the heads
/// that share a key head.
struct Cut {
  explicit Cut(const AttentionOptions& options, const KvLayout& layout)
      : group(options.heads / layout.kv_heads),
        slice(std::min(group, kMaxVectors)),
        tile(kMaxVectors / slice),
        tasks_a_tile(layout.kv_heads * ceil_div(group, slice)) {}

  std::int64_t tasks(const SequenceRows& sequence) const {
    return ceil_div(sequence.rows, tile) * tasks_a_tile;
  }

  std::int64_t group;
  std::int64_t slice;
  std::int64_t tile;
  std::int64_t tasks_a_tile;
};

/// The rows of `sequence` in tasks of at most kMaxVectors query vectors, written from `placed` on;
/// gives the end.
Placed* place_sequence(const AttentionTask& common, const SequenceRows& sequence,
                       tensor::MatrixView<const float> queries, const AttentionOptions& options,
                       tensor::MatrixView<float> out, Placed* placed) {
  const KvLayout& layout = common.cache.layout;
  const HeadLayout head(layout);
  const Cut cut(options, layout);
  for (std::int64_t row = 0; row < sequence.rows; row += cut.tile) {
    for (std::int64_t first = 0; first < options.heads;) {
      const std::int64_t kv_head = first / cut.group;
      const std::int64_t end = std::min(first + cut.slice, (kv_head + 1) * cut.group);
      Placed& next = *new (placed++) Placed{common};
      AttentionTask& task = next.task;
      const std::int64_t column = first * layout.head_dim;
      task.queries = queries.row(sequence.first_row + row) + column;
      next.out = out.row(sequence.first_row + row) + column;
      task.query_stride = queries.stride;
      task.rows = std::min(cut.tile, sequence.rows - row);
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
          task.vectors() <= detail::kFewVectors ? task.end_part - task.first_part : std::int64_t{1};
      first = end;
    }
  }
  return placed;
}

/// All sequences' tasks.
std::span<Placed> place_all(const Context& context, const AttentionTask& common,
                            std::span<const SequenceRows> sequences,
                            tensor::MatrixView<const float> queries,
                            const AttentionOptions& options, tensor::MatrixView<float> out) {
  const Cut cut(options, common.cache.layout);
  std::int64_t count = 0;
  for (const SequenceRows& sequence : sequences) {
    count += cut.tasks(sequence);
  }
  Placed* const placed = context.workspace->take<Placed>(count);
  Placed* end = placed;
  for (const SequenceRows& sequence : sequences) {
    end = place_sequence(common, sequence, queries, options, out, end);
  }
  GAMELAN_CHECK(end == placed + count, "a sequence has as many tasks as were counted");
  return {placed, end};
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

/// A part of a task, or the whole.
struct Item {
  const Placed* placed = nullptr;
  std::int64_t part = 0;

  AttentionTask task() const {
    AttentionTask task = placed->task;
    if (placed->states > 1) {
      task.first_part += part;
      task.end_part = task.first_part + 1;
    }
    return task;
  }
};

/// Numbers the tasks' states and lists their parts.
std::span<Item> list_items(const Context& context, std::span<Placed> placed,
                           std::int64_t& vectors) {
  std::int64_t count = 0;
  vectors = 0;
  for (Placed& whole : placed) {
    whole.first_vector = vectors;
    vectors += whole.states * whole.task.vectors();
    count += whole.states;
  }
  Item* const items = context.workspace->take<Item>(count);
  Item* next = items;
  for (const Placed& whole : placed) {
    for (std::int64_t part = 0; part < whole.states; ++part) {
      new (next++) Item{&whole, part};
    }
  }
  return {items, next};
}

void run_item(const Item& item, const HeadLayout& head, const detail::AttentionKernels& kernels,
              std::int64_t out_stride, float* states, std::byte* scratch) {
  const Placed& whole = *item.placed;
  const AttentionTask task = item.task();
  const std::int64_t size = detail::state_size(head.width);
  float* const state = states + (whole.first_vector + item.part * task.vectors()) * size;
  std::fill_n(state, task.vectors() * size, 0.0F);
  for (std::int64_t vector = 0; vector < task.vectors(); ++vector) {
    state[vector * size] = -INFINITY;
  }
  kernels.run(task, state, scratch);
  if (whole.states == 1) {
    write_out(whole, head, out_stride, state);
  }
}

void run_all(const Context& context, const KvLayout& layout, std::span<Placed> placed,
             std::int64_t out_stride) {
  const HeadLayout head(layout);
  const detail::AttentionKernels& kernels = detail::attention_kernels(isa_level());
  const std::int64_t size = detail::state_size(head.width);
  std::int64_t vectors = 0;
  const std::span<Item> items = list_items(context, placed, vectors);
  auto* const states = context.workspace->take<float>(vectors * size);
  const std::size_t scratch_size = device::Arena::rounded(detail::scratch_bytes(layout));
  auto* const scratch = static_cast<std::byte*>(
      context.workspace->take_bytes(scratch_size * context.threads->size()));
  const auto count = static_cast<std::int64_t>(items.size());
  context.threads->parallel_for_dynamic(
      count, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
        for (std::int64_t at = begin; at < end; ++at) {
          // Threads take items in turn: this is about the next one of this thread.
          const std::int64_t next = at + context.threads->size();
          if (next < count && items[next].placed->task.vectors() <= detail::kFewVectors) {
            const AttentionTask task = items[next].task();
            const std::int64_t first = task.first_part * kPart;
            detail::fetch_subtiles(task, head, first, first + detail::kGroup);
          }
          run_item(items[at], head, kernels, out_stride, states, scratch + scratch_size * thread);
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
  const device::Arena::Scope scope(*context.workspace);
  run_all(context, layout, place_all(context, common, sequences, queries, options, out),
          out.stride);
}

std::size_t attention_workspace_bytes(const Context& context, const KvLayout& layout,
                                      std::int64_t heads, std::int64_t rows, std::int64_t blocks) {
  const HeadLayout head(layout);
  AttentionOptions options;
  options.heads = heads;
  const Cut cut(options, layout);
  // At worst every row is a sequence, whose last part is not full. Only tasks of few vectors, and
  // so of few rows, have a state for every part.
  const std::int64_t full_parts = ceil_div(blocks * head.subtiles, kPart);
  const std::int64_t few_rows = std::max(detail::kFewVectors / cut.slice, std::int64_t{1});
  const std::int64_t vectors = heads * (rows + few_rows * full_parts);
  const auto bytes = [](std::int64_t count, std::size_t each) {
    return device::Arena::rounded(static_cast<std::size_t>(count) * each);
  };
  return bytes(rows * cut.tasks_a_tile, sizeof(Placed)) +
         bytes((rows + full_parts) * cut.tasks_a_tile, sizeof(Item)) +
         bytes(vectors * detail::state_size(head.width), sizeof(float)) +
         bytes(context.threads->size(), device::Arena::rounded(detail::scratch_bytes(layout)));
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
  const auto count = static_cast<std::int64_t>(offsets.empty() ? 0 : offsets.size() - 1);
  const std::int64_t most_blocks = ceil_div(queries.rows, tokens) + count;
  const device::Arena::Scope scope(*context.workspace);
  const std::span table(context.workspace->take<std::int32_t>(most_blocks), most_blocks);
  std::iota(table.begin(), table.end(), 0);
  const std::span sequences(context.workspace->take<SequenceRows>(count), count);
  std::int64_t blocks = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t rows = offsets[i + 1] - offsets[i];
    const std::int64_t own = ceil_div(rows, tokens);
    new (&sequences[i]) SequenceRows{offsets[i], rows, 0, table.subspan(blocks, own)};
    blocks += own;
  }
  cache.data =
      static_cast<std::byte*>(context.workspace->take_bytes(cache.layout.block_bytes() * blocks));
  append_kv(context, keys, values, sequences, cache);
  AttentionTask common;
  common.scale = scale;
  common.causal = false;
  common.cache = cache;
  AttentionOptions options;
  options.heads = heads;
  run_all(context, cache.layout, place_all(context, common, sequences, queries, options, out),
          out.stride);
}

}  // namespace gamelan::kernels::cpu
