#pragma once

// What attention.cc, which cuts a step into tasks, and the files of the instruction sets share.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/isa.h"

namespace gamelan::kernels::cpu::detail {

/// Keys of a subtile: they lie side by side, [head_dim][16], so that a vector holds a number of
/// each.
inline constexpr std::int64_t kSubtile = 16;
/// Subtiles whose scores share one update of the running maximum: 64 keys, four 512-bit vectors,
/// enough independent sums to hide a product's latency of four to six cycles.
inline constexpr std::int64_t kGroup = 4;
/// Subtiles of a part, the unit that decoding gives to a thread: 512 keys, 128 KiB of bf16 at a
/// head_dim of 64, some 10 us of reading against about 2 us of fork and join.
inline constexpr std::int64_t kPart = 32;
/// Up to so many query vectors the cache's reading outweighs the sums: its parts are shared out,
/// and what is read next is asked for early.
inline constexpr std::int64_t kFewVectors = 8;
/// Query vectors of a task: eight blocks of six or three tile registers of AMX, whose state stays
/// in the first two caches.
inline constexpr std::int64_t kMaxVectors = 48;

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// Where a head's numbers lie in a block. Keys of a subtile are [head_dim][16], values [16][width];
/// of bf16, pairs of consecutive numbers of a key and pairs of consecutive values lie together,
/// [head_dim / 2][16][2] and [8][width][2], as vdpbf16ps wants them.
struct HeadLayout {
  explicit HeadLayout(const KvLayout& layout);

  std::int64_t subtiles;     // of a block
  std::int64_t depth;        // head_dim rounded up to a pair
  std::int64_t width;        // head_dim rounded up to 16
  std::size_t key_bytes;     // of a subtile
  std::size_t value_bytes;   // of a subtile
  std::size_t scale_offset;  // in a head's bytes: keys' scales, then values'; one a slot
  std::size_t head_bytes;
  std::size_t block_bytes;
};

/// The query heads of some rows that read one key head, over some parts of the cache.
struct AttentionTask {
  const float* queries = nullptr;  // [rows, group * head_dim], at the first head of the group
  std::int64_t query_stride = 0;
  std::int64_t rows = 0;
  std::int64_t group = 0;
  float scale = 1.0F;
  const float* slopes = nullptr;  // [group], or null
  std::int64_t position = 0;      // of the first row
  std::int64_t window = 0;
  bool causal = true;
  std::int64_t keys = 0;  // the first ones of the sequence, which the task may read
  KvBlocks cache;
  const std::int32_t* table = nullptr;
  std::int64_t kv_head = 0;
  std::int64_t first_part = 0;
  std::int64_t end_part = 0;

  std::int64_t vectors() const { return rows * group; }
};

/// The subtile of a position.
static inline std::int64_t subtile_of(const AttentionTask& task, const HeadLayout& head,
                                      std::int64_t position) {
  const std::int64_t tokens = task.cache.layout.block_tokens;
  return position / tokens * head.subtiles + position % tokens / kSubtile;
}

/// The bytes of a task's head in a block of its sequence.
static inline const std::byte* head_in_block(const AttentionTask& task, const HeadLayout& head,
                                             std::int64_t block) {
  return task.cache.data + task.table[block] * static_cast<std::int64_t>(head.block_bytes) +
         task.kv_head * static_cast<std::int64_t>(head.head_bytes);
}

/// Asks for keys and values of subtiles first … end - 1, up to the task's last: each lies in a page
/// of its own, where the hardware does not see the next one coming.
static inline void fetch_subtiles(const AttentionTask& task, const HeadLayout& head,
                                  std::int64_t first, std::int64_t end) {
  end = std::min(end, subtile_of(task, head, task.keys - 1) + 1);
  const auto fetch = [](const std::byte* from, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += 64) {
      __builtin_prefetch(from + i, 0, 2);
    }
  };
  for (std::int64_t at = first; at < end; ++at) {
    const std::byte* const base = head_in_block(task, head, at / head.subtiles);
    const auto inner = static_cast<std::size_t>(at % head.subtiles);
    fetch(base + inner * head.key_bytes, head.key_bytes);
    fetch(
        base + static_cast<std::size_t>(head.subtiles) * head.key_bytes + inner * head.value_bytes,
        head.value_bytes);
  }
}

/// A softmax under way, for each query vector: maximum, sum, then `width` weighted sums of values.
inline std::int64_t state_size(std::int64_t width) {
  return width + 16;
}

struct AttentionKernels {
  /// Adds the task's parts, one after the other, to `state` [vectors, state_size].
  void (*run)(const AttentionTask& task, float* state, std::byte* scratch);
  /// Adds the state of a later part to that of the earlier ones.
  void (*merge)(std::int64_t vectors, std::int64_t width, const float* part, float* state);
};

std::size_t scratch_bytes(const KvLayout& layout);

extern const AttentionKernels kAttentionScalar;
extern const AttentionKernels kAttentionAvx2;
extern const AttentionKernels kAttentionAvx512;
extern const AttentionKernels kAttentionAvx512Bf16;
extern const AttentionKernels kAttentionAmx;
const AttentionKernels& attention_kernels(IsaLevel level);

}  // namespace gamelan::kernels::cpu::detail
