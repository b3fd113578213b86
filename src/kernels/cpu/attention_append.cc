#include <algorithm>
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

void write_bf16(const Slot& slot, const float* key, const float* value) {
  auto* const keys = reinterpret_cast<tensor::BFloat16*>(slot.keys());
  for (std::int64_t i = 0; i < slot.head.depth; ++i) {
    keys[(i / 2 * kSubtile + slot.lane) * 2 + i % 2] =
        tensor::to_bfloat16(i < slot.head_dim ? key[i] : 0.0F);
  }
  auto* const values = reinterpret_cast<tensor::BFloat16*>(slot.values()) +
                       slot.lane / 2 * 2 * slot.head.width + slot.lane % 2;
  for (std::int64_t i = 0; i < slot.head.width; ++i) {
    values[i * 2] = tensor::to_bfloat16(i < slot.head_dim ? value[i] : 0.0F);
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
  } else if (dtype == DType::kBF16) {
    write_bf16(slot, key, value);
  } else if (dtype == DType::kF16) {
    const auto half = [](float x) { return tensor::to_float16(x); };
    write<tensor::Float16>(slot, key, value, half, half);
  } else {
    write_i8(slot, key, value);
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
      for (std::int64_t i = 0; i < rows.rows; ++i) {
        const std::int64_t position = rows.position + i;
        const std::int64_t block = rows.table[position / layout.block_tokens];
        const std::int64_t inner = position % layout.block_tokens;
        std::byte* const base = cache.data + block * static_cast<std::int64_t>(head.block_bytes) +
                                kv_head * static_cast<std::int64_t>(head.head_bytes);
        const Slot slot{head, base, inner / kSubtile, inner % kSubtile, layout.head_dim};
        write_slot(layout.dtype, slot, keys.row(rows.first_row + i) + kv_head * layout.head_dim,
                   values.row(rows.first_row + i) + kv_head * layout.head_dim);
      }
    }
  });
}

}  // namespace gamelan::kernels::cpu
