#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "kernels/cpu/attention.h"
#include "tensor/dtype.h"

namespace gamelan::kernels::reference {

/// Reads single numbers of one sequence out of a cache, by the page's description of a block
/// (docs/kernels.md) and by nothing that the kernels use.
class CachedSequence {
 public:
  CachedSequence(const cpu::KvBlocks& cache, std::span<const std::int32_t> table)
      : cache_(cache), table_(table) {}

  /// Number i of the key at `position`; beyond head_dim the padding to 2.
  double key(std::int64_t position, std::int64_t head, std::int64_t i) const {
    const Place at = place(position, head);
    const std::int64_t index = paired() ? (i / 2 * 16 + at.lane) * 2 + i % 2 : i * 16 + at.lane;
    return number(at.head + at.subtile * key_bytes(), index) * scale(at, 0);
  }
  /// Number i of the value at `position`; beyond head_dim the padding to 16.
  double value(std::int64_t position, std::int64_t head, std::int64_t i) const {
    const Place at = place(position, head);
    const std::int64_t index =
        paired() ? (at.lane / 2 * width() + i) * 2 + at.lane % 2 : at.lane * width() + i;
    return number(at.head + subtiles() * key_bytes() + at.subtile * value_bytes(), index) *
           scale(at, 1);
  }

 private:
  struct Place {
    const std::byte* head;
    std::int64_t subtile;
    std::int64_t lane;
  };

  const cpu::KvLayout& layout() const { return cache_.layout; }
  bool paired() const { return layout().dtype == tensor::DType::kBF16; }
  bool scaled() const { return layout().dtype == tensor::DType::kI8; }
  std::int64_t size() const { return static_cast<std::int64_t>(tensor::size_of(layout().dtype)); }
  std::int64_t subtiles() const { return (layout().block_tokens + 15) / 16; }
  std::int64_t width() const { return (layout().head_dim + 15) / 16 * 16; }
  std::int64_t key_bytes() const { return (layout().head_dim + 1) / 2 * 2 * 16 * size(); }
  std::int64_t value_bytes() const { return width() * 16 * size(); }
  std::int64_t scales_offset() const { return subtiles() * (key_bytes() + value_bytes()); }

  Place place(std::int64_t position, std::int64_t head) const {
    const std::int64_t slot = position % layout().block_tokens;
    const std::int64_t block = table_[static_cast<std::size_t>(position / layout().block_tokens)];
    const std::int64_t head_bytes =
        scales_offset() + (scaled() ? subtiles() * 16 * 2 * std::int64_t{sizeof(float)} : 0);
    return {
        cache_.data + block * static_cast<std::int64_t>(layout().block_bytes()) + head * head_bytes,
        slot / 16, slot % 16};
  }
  template <class T>
  static T load(const std::byte* from, std::int64_t index) {
    T result;
    std::memcpy(&result, from + index * std::int64_t{sizeof(T)}, sizeof(T));
    return result;
  }
  double number(const std::byte* from, std::int64_t index) const {
    switch (layout().dtype) {
      case tensor::DType::kBF16:
        return tensor::to_float(load<tensor::BFloat16>(from, index));
      case tensor::DType::kF16:
        return tensor::to_float(load<tensor::Float16>(from, index));
      case tensor::DType::kI8:
        return load<std::int8_t>(from, index);
      default:
        return load<float>(from, index);
    }
  }
  /// `which`: 0 for keys, 1 for values.
  double scale(const Place& at, std::int64_t which) const {
    return scaled() ? load<float>(at.head + scales_offset(),
                                  (which * subtiles() + at.subtile) * 16 + at.lane)
                    : 1.0;
  }

  cpu::KvBlocks cache_;
  std::span<const std::int32_t> table_;
};

}  // namespace gamelan::kernels::reference
