#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/status.h"
#include "kernels/cpu/attention_kernels.h"

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

/// As tensor::to_bfloat16, without a branch: the loop becomes one over vectors.
void round_to_bf16(const float* from, std::int64_t count, std::uint16_t* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(from[i]);
    const std::uint32_t rounded = (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
    const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    to[i] = static_cast<std::uint16_t>(nan ? (bits >> 16 | 0x40U) : rounded);
  }
}

/// So many numbers are rounded at once.
constexpr std::int64_t kChunk = 64;

void write_bf16_key(const Slot& slot, const float* key) {
  auto* const keys = reinterpret_cast<std::uint32_t*>(slot.keys()) + slot.lane;
  for (std::int64_t first = 0; first < slot.head_dim; first += kChunk) {
    std::uint16_t halves[kChunk] = {};
    const std::int64_t count = std::min(kChunk, slot.head_dim - first);
    round_to_bf16(key + first, count, halves);
    for (std::int64_t i = 0; i < count; i += 2) {
      std::memcpy(keys + (first + i) / 2 * kSubtile, halves + i, sizeof(std::uint32_t));
    }
  }
}

/// `next`: the value of the token after an even one, which shares its words; null when it comes
/// later, or is not an even one's.
void write_bf16_value(const Slot& slot, const float* value, const float* next) {
  auto* const words =
      reinterpret_cast<std::uint32_t*>(slot.values()) + slot.lane / 2 * slot.head.width;
  for (std::int64_t first = 0; first < slot.head.width; first += kChunk) {
    std::uint16_t own[kChunk] = {};
    std::uint16_t other[kChunk] = {};
    const std::int64_t width = std::min(kChunk, slot.head.width - first);
    const std::int64_t count = std::clamp(slot.head_dim - first, std::int64_t{0}, kChunk);
    round_to_bf16(value + first, count, own);
    if (next != nullptr) {
      round_to_bf16(next + first, count, other);
      for (std::int64_t i = 0; i < width; ++i) {
        words[first + i] = own[i] | std::uint32_t{other[i]} << 16;
      }
    } else {
      auto* const halves = reinterpret_cast<std::uint16_t*>(words + first) + slot.lane % 2;
      for (std::int64_t i = 0; i < width; ++i) {
        halves[2 * i] = own[i];
      }
    }
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

/// One head of a sequence's rows. Keys and values [rows, head_dim] begin at row first_row.
void append_head(const SequenceRows& rows, tensor::MatrixView<const float> keys,
                 tensor::MatrixView<const float> values, std::int64_t kv_head,
                 const HeadLayout& head, const KvBlocks& cache) {
  const KvLayout& layout = cache.layout;
  const std::int64_t column = kv_head * layout.head_dim;
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    const std::int64_t position = rows.position + i;
    const std::int64_t block = rows.table[position / layout.block_tokens];
    const std::int64_t inner = position % layout.block_tokens;
    std::byte* const base = cache.data + block * static_cast<std::int64_t>(head.block_bytes) +
                            kv_head * static_cast<std::int64_t>(head.head_bytes);
    const Slot slot{head, base, inner / kSubtile, inner % kSubtile, layout.head_dim};
    const float* const key = keys.row(rows.first_row + i) + column;
    const float* const value = values.row(rows.first_row + i) + column;
    if (layout.dtype != DType::kBF16) {
      write_slot(layout.dtype, slot, key, value);
      continue;
    }
    write_bf16_key(slot, key);
    const bool second = inner % 2 == 1;
    const bool pair = !second && i + 1 < rows.rows && inner + 1 < layout.block_tokens;
    if (!second || i == 0) {  // else the first of the pair has brought this one along
      write_bf16_value(slot, value, pair ? value + values.stride : nullptr);
    }
  }
}

}  // namespace

void append_kv(const Context& context, tensor::MatrixView<const float> keys,
               tensor::MatrixView<const float> values, std::span<const SequenceRows> sequences,
               const KvBlocks& cache) {
  const KvLayout& layout = cache.layout;
  const HeadLayout head(layout);
  const std::int64_t columns = layout.kv_heads * layout.head_dim;
  GAMELAN_CHECK(keys.columns == columns && values.columns == columns,
                "keys and values have kv_heads * head_dim columns");
  const auto items = static_cast<std::int64_t>(sequences.size()) * layout.kv_heads;
  // Tokens of a head share cache lines, heads do not: one thread writes all of a head's.
  context.threads->parallel_for(items, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t item = begin; item < end; ++item) {
      const SequenceRows& rows = sequences[item / layout.kv_heads];
      const std::int64_t kv_head = item % layout.kv_heads;
      append_head(rows, keys, values, kv_head, head, cache);
    }
  });
}

}  // namespace gamelan::kernels::cpu
