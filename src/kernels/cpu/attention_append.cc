#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/status.h"
#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/row_kernels.h"

namespace gamelan::kernels::cpu {
namespace {

using detail::HeadLayout;
using detail::kSubtile;
using tensor::DType;

/// One token's slot of one head in its block.
struct Slot {
  const HeadLayout& head;
  std::byte* base;
  std::int64_t subtile;
  std::int64_t lane;
  std::int64_t head_dim;

  std::byte* keys() const { return base + subtile * head.key_bytes; }
  std::byte* values() const {
    return base + head.subtiles * head.key_bytes + subtile * head.value_bytes;
  }
};

template <class T, class Convert>
void write(const Slot& slot, const float* key, const float* value, Convert&& convert_key,
           Convert&& convert_value) {
  T* const keys = reinterpret_cast<T*>(slot.keys()) + slot.lane;
  for (std::int64_t i = 0; i < slot.head.depth; ++i) {
    keys[i * kSubtile] = convert_key(i < slot.head_dim ? key[i] : 0.0F);
  }
  T* const values = reinterpret_cast<T*>(slot.values()) + slot.lane * slot.head.width;
  for (std::int64_t i = 0; i < slot.head.width; ++i) {
    values[i] = convert_value(i < slot.head_dim ? value[i] : 0.0F);
  }
}

/// So many numbers are rounded at once.
constexpr std::int64_t kChunk = 64;

void write_bf16_key(const detail::RowKernels& kernels, const Slot& slot, const float* key) {
  auto* const keys = reinterpret_cast<std::uint32_t*>(slot.keys()) + slot.lane;
  for (std::int64_t first = 0; first < slot.head_dim; first += kChunk) {
    std::uint16_t halves[kChunk];
    const std::int64_t count = std::min(kChunk, slot.head_dim - first);
    halves[(count - 1) / 2 * 2 + 1] = 0;  // the second of the last pair, where there is none
    kernels.round_bf16(key + first, count, halves);
    for (std::int64_t i = 0; i < count; i += 2) {
      std::memcpy(keys + (first + i) / 2 * kSubtile, halves + i, sizeof(std::uint32_t));
    }
  }
}

/// `next`: the value of the token after an even one, which shares its words; null when it comes
/// later, or is not an even one's.
void write_bf16_value(const detail::RowKernels& kernels, const Slot& slot, const float* value,
                      const float* next) {
  auto* const words =
      reinterpret_cast<std::uint32_t*>(slot.values()) + slot.lane / 2 * slot.head.width;
  auto* const halves = reinterpret_cast<std::uint16_t*>(words) + slot.lane % 2;
  if (next != nullptr) {
    kernels.pair_bf16(value, next, slot.head_dim, words);
    std::fill(words + slot.head_dim, words + slot.head.width, 0U);
    return;
  }
  for (std::int64_t first = 0; first < slot.head_dim; first += kChunk) {
    std::uint16_t own[kChunk];
    const std::int64_t count = std::min(kChunk, slot.head_dim - first);
    kernels.round_bf16(value + first, count, own);
    for (std::int64_t i = 0; i < count; ++i) {
      halves[2 * (first + i)] = own[i];
    }
  }
  for (std::int64_t i = slot.head_dim; i < slot.head.width; ++i) {
    halves[2 * i] = 0;
  }
}

float scale_of(const float* from, std::int64_t count) {
  float largest = 0.0F;
  for (std::int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::fabs(from[i]));
  }
  return largest / 127.0F;
}

void write_i8(const Slot& slot, const float* key, const float* value) {
  struct Quantize {
    float inverse;
    std::int8_t operator()(float x) const {
      return static_cast<std::int8_t>(std::clamp(std::nearbyint(x * inverse), -127.0F, 127.0F));
    }
  };
  const float key_scale = scale_of(key, slot.head_dim);
  const float value_scale = scale_of(value, slot.head_dim);
  auto* const scales = reinterpret_cast<float*>(slot.base + slot.head.scale_offset);
  const std::int64_t at = slot.subtile * kSubtile + slot.lane;
  scales[at] = key_scale;
  scales[slot.head.subtiles * kSubtile + at] = value_scale;
  write<std::int8_t>(slot, key, value, Quantize{key_scale > 0 ? 1.0F / key_scale : 0.0F},
                     Quantize{value_scale > 0 ? 1.0F / value_scale : 0.0F});
}

void write_slot(DType dtype, const Slot& slot, const float* key, const float* value) {
  if (dtype == DType::kF32) {
    const auto same = [](float x) { return x; };
    write<float>(slot, key, value, same, same);
  } else if (dtype == DType::kF16) {
    const auto half = [](float x) { return tensor::to_float16(x); };
    write<tensor::Float16>(slot, key, value, half, half);
  } else {
    write_i8(slot, key, value);
  }
}

/// Rows begin … end - 1 of a sequence, which lie in one subtile, of one head. Keys and values
/// [rows, head_dim] begin at row first_row.
void append_head(const SequenceRows& rows, std::int64_t begin, std::int64_t end,
                 tensor::MatrixView<const float> keys, tensor::MatrixView<const float> values,
                 std::int64_t kv_head, const HeadLayout& head, const KvBlocks& cache) {
  const KvLayout& layout = cache.layout;
  const std::int64_t column = kv_head * layout.head_dim;
  const detail::RowKernels& kernels = detail::row_kernels();
  const std::int64_t block = rows.table[(rows.position + begin) / layout.block_tokens];
  std::byte* const base = cache.data + block * static_cast<std::int64_t>(head.block_bytes) +
                          kv_head * static_cast<std::int64_t>(head.head_bytes);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t inner = (rows.position + i) % layout.block_tokens;
    const Slot slot{head, base, inner / kSubtile, inner % kSubtile, layout.head_dim};
    const float* const key = keys.row(rows.first_row + i) + column;
    const float* const value = values.row(rows.first_row + i) + column;
    if (layout.dtype != DType::kBF16) {
      write_slot(layout.dtype, slot, key, value);
      continue;
    }
    write_bf16_key(kernels, slot, key);
    const bool second = inner % 2 == 1;
    if (!second || i == begin) {  // else the first of the pair has brought this one along
      write_bf16_value(kernels, slot, value,
                       !second && i + 1 < end ? value + values.stride : nullptr);
    }
  }
}

/// The subtiles that a sequence's rows reach, one after the other.
struct Reach {
  Reach(const SequenceRows& rows, const KvLayout& layout, const HeadLayout& head)
      : tokens(layout.block_tokens),
        subtiles(head.subtiles),
        position(rows.position),
        rows(rows.rows),
        first(subtile_of(position)),
        count(rows.rows == 0 ? 0 : subtile_of(position + rows.rows - 1) - first + 1) {}

  std::int64_t subtile_of(std::int64_t at) const {
    return at / tokens * subtiles + at % tokens / kSubtile;
  }
  /// The first row of the i-th subtile; the end for i = count.
  std::int64_t begin_of(std::int64_t i) const {
    const std::int64_t subtile = first + i;
    const std::int64_t start = subtile / subtiles * tokens + subtile % subtiles * kSubtile;
    return std::clamp(start - position, std::int64_t{0}, rows);
  }

  std::int64_t tokens;
  std::int64_t subtiles;  // of a block
  std::int64_t position;
  std::int64_t rows;
  std::int64_t first;
  std::int64_t count;
};

}  // namespace

void append_kv(const Context& context, tensor::MatrixView<const float> keys,
               tensor::MatrixView<const float> values, std::span<const SequenceRows> sequences,
               const KvBlocks& cache) {
  const KvLayout& layout = cache.layout;
  const HeadLayout head(layout);
  const std::int64_t columns = layout.kv_heads * layout.head_dim;
  GAMELAN_CHECK(keys.columns == columns && values.columns == columns,
                "keys and values have kv_heads * head_dim columns");
  std::int64_t items = 0;
  for (const SequenceRows& rows : sequences) {
    items += Reach(rows, layout, head).count * layout.kv_heads;
  }
  // Tokens of a subtile share cache lines: one thread writes all of a head's. Heads follow each
  // other, so that a thread reads whole rows where there are many.
  context.threads->parallel_for(items, 1, [&](std::int64_t begin, std::int64_t end, int) {
    std::int64_t before = 0;
    for (const SequenceRows& rows : sequences) {
      const Reach reach(rows, layout, head);
      const std::int64_t own = reach.count * layout.kv_heads;
      for (std::int64_t item = std::max(begin - before, std::int64_t{0});
           item < std::min(end - before, own); ++item) {
        const std::int64_t at = item / layout.kv_heads;
        append_head(rows, reach.begin_of(at), reach.begin_of(at + 1), keys, values,
                    item % layout.kv_heads, head, cache);
      }
      before += own;
    }
  });
}

}  // namespace gamelan::kernels::cpu
