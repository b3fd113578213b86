#pragma once

// Values for tests of collectives that every rank can compute for every other one.

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "dist/collective/process_group.h"
#include "tensor/buffer_view.h"

namespace gamelan::dist {

template <class T>
inline constexpr tensor::DType kDTypeOf = tensor::DType::kU8;
template <>
inline constexpr tensor::DType kDTypeOf<float> = tensor::DType::kF32;
template <>
inline constexpr tensor::DType kDTypeOf<double> = tensor::DType::kF64;
template <>
inline constexpr tensor::DType kDTypeOf<tensor::Float16> = tensor::DType::kF16;
template <>
inline constexpr tensor::DType kDTypeOf<tensor::BFloat16> = tensor::DType::kBF16;
template <>
inline constexpr tensor::DType kDTypeOf<std::int64_t> = tensor::DType::kI64;
template <>
inline constexpr tensor::DType kDTypeOf<std::int32_t> = tensor::DType::kI32;
template <>
inline constexpr tensor::DType kDTypeOf<std::int16_t> = tensor::DType::kI16;
template <>
inline constexpr tensor::DType kDTypeOf<std::int8_t> = tensor::DType::kI8;
template <>
inline constexpr tensor::DType kDTypeOf<bool> = tensor::DType::kBool;

template <class T>
constexpr bool kIsFloating = std::is_floating_point_v<T> || std::is_same_v<T, tensor::Float16> ||
                             std::is_same_v<T, tensor::BFloat16>;

/// The type that T is accumulated in.
template <class T>
using AccumulatorOf = std::conditional_t<std::is_same_v<T, double>, double,
                                         std::conditional_t<kIsFloating<T>, float, std::int64_t>>;

template <class T>
AccumulatorOf<T> widen(T value) {
  if constexpr (kIsFloating<T> && !std::is_floating_point_v<T>) {
    return tensor::to_float(value);
  } else {
    return static_cast<AccumulatorOf<T>>(value);
  }
}

template <class T>
T narrow(AccumulatorOf<T> value) {
  if constexpr (std::is_same_v<T, tensor::Float16>) {
    return tensor::to_float16(value);
  } else if constexpr (std::is_same_v<T, tensor::BFloat16>) {
    return tensor::to_bfloat16(value);
  } else if constexpr (std::is_same_v<T, bool>) {
    return value != 0;
  } else {
    return static_cast<T>(value);
  }
}

/// Floating types: not exact in sums, so that the order of additions shows; other types: small
/// numbers.
template <class T>
T value_at(int rank, std::size_t index) {
  std::uint64_t hash = (index + 1) * 0x9e3779b97f4a7c15ULL ^
                       static_cast<std::uint64_t>(rank + 1) * 0xbf58476d1ce4e5b9ULL;
  hash ^= hash >> 29;
  hash *= 0x94d049bb133111ebULL;
  hash ^= hash >> 32;
  if constexpr (kIsFloating<T>) {
    return narrow<T>(
        static_cast<AccumulatorOf<T>>(static_cast<double>(hash % 20011) / 9973.0 - 1.0));
  } else if constexpr (std::is_same_v<T, bool>) {
    return hash % 3 == 0;
  } else {
    return static_cast<T>(hash % 13);
  }
}

template <class T>
std::vector<std::uint8_t> values(int rank, std::size_t count, std::size_t first = 0) {
  std::vector<std::uint8_t> bytes(count * sizeof(T));
  for (std::size_t i = 0; i < count; ++i) {
    const T value = value_at<T>(rank, first + i);
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

/// The values of all ranks, combined in rank order.
template <class T>
T reduced_at(int ranks, std::size_t index, ReduceOp op) {
  using Acc = AccumulatorOf<T>;
  Acc acc = widen(value_at<T>(0, index));
  for (int rank = 1; rank < ranks; ++rank) {
    const Acc next = widen(value_at<T>(rank, index));
    switch (op) {
      case ReduceOp::kSum:
      case ReduceOp::kAvg:
        acc = acc + next;
        break;
      case ReduceOp::kProduct:
        acc = acc * next;
        break;
      case ReduceOp::kMin:
        acc = next < acc ? next : acc;
        break;
      case ReduceOp::kMax:
        acc = next > acc ? next : acc;
        break;
    }
  }
  if (op == ReduceOp::kAvg && ranks > 1) {
    if constexpr (kIsFloating<T>) {
      acc = acc * (Acc(1) / static_cast<Acc>(ranks));
    } else {
      acc = widen(narrow<T>(acc)) / ranks;
    }
  }
  return narrow<T>(acc);
}

template <class T>
std::vector<std::uint8_t> reduced(int ranks, std::size_t count, ReduceOp op,
                                  std::size_t first = 0) {
  std::vector<std::uint8_t> bytes(count * sizeof(T));
  for (std::size_t i = 0; i < count; ++i) {
    const T value = reduced_at<T>(ranks, first + i, op);
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

template <class T>
tensor::BufferView view(std::vector<std::uint8_t>& bytes) {
  return {bytes.data(), bytes.size() / sizeof(T), kDTypeOf<T>, {}};
}

}  // namespace gamelan::dist
