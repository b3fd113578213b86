// Compiled once per instruction set by Highway's dispatcher. The loops are plain: memory bounds
// them, and the compiler vectorises them for each set (this file is built with -O3).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "dist/collective/reduce.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include <hwy/foreach_target.h>
// After foreach_target.h
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "dist/collective/reduce.h"

// An output may be one of the inputs, element for element, which is no dependence between
// iterations.
#if defined(__clang__)
#define GAMELAN_VECTORISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define GAMELAN_VECTORISE _Pragma("GCC ivdep")
#endif

HWY_BEFORE_NAMESPACE();
namespace gamelan::dist {
namespace HWY_NAMESPACE {

using tensor::BFloat16;
using tensor::Float16;

// A block of accumulators of any type stays in the L1 cache beside the lines of the sources.
constexpr std::size_t kBlock = 1024;

/// How elements of type T are accumulated.
template <class T>
struct Element {
  using Acc = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>,
                                          std::type_identity<T>>::type;
  static Acc load(T value) { return static_cast<Acc>(value); }
  static T store(Acc value) { return static_cast<T>(value); }
};

template <>
struct Element<bool> {
  using Acc = std::uint8_t;
};

template <>
struct Element<BFloat16> {
  using Acc = float;
  static float load(BFloat16 value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
  }
  // As tensor::to_bfloat16, without branches.
  static BFloat16 store(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    const std::uint32_t nan = (bits >> 16) | 0x0040U;
    return {static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? nan : rounded)};
  }
};

template <>
struct Element<Float16> {
  using Acc = float;
  // The exponent is rebiased by a product with 2^112, which is exact also for subnormals.
  static float load(Float16 value) {
    const std::uint32_t magnitude = value.bits & 0x7fffU;
    const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000U) << 16;
    const auto finite =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112F);
    const std::uint32_t special = 0x7f800000U | magnitude << 13;
    return std::bit_cast<float>(sign | (magnitude >= 0x7c00U ? special : finite));
  }
  // As tensor::to_float16, without branches.
  static Float16 store(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 16 & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7fffffffU;
    const std::uint32_t round = 0xfffU + (magnitude >> 13 & 1U);
    const std::uint32_t normal = (magnitude - 0x38000000U + round) >> 13;
    const std::uint32_t subnormal =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
    std::uint32_t result = magnitude < 0x38800000U ? subnormal : normal;
    result = magnitude >= 0x477ff000U ? 0x7c00U : result;
    result = magnitude > 0x7f800000U ? 0x7e00U : result;
    return {static_cast<std::uint16_t>(sign | result)};
  }
};

struct Sum {
  template <class A>
  static A combine(A a, A b) {
    return static_cast<A>(a + b);
  }
};
struct Product {
  template <class A>
  static A combine(A a, A b) {
    if constexpr (sizeof(A) < sizeof(int)) {
      return static_cast<A>(static_cast<unsigned>(a) *
                            static_cast<unsigned>(b));  // int would overflow
    } else {
      return static_cast<A>(a * b);
    }
  }
};
struct Min {
  template <class A>
  static A combine(A a, A b) {
    if constexpr (std::is_floating_point_v<A>) {
      return ((a < b) | (a != a)) ? a : b;
    } else {
      return a < b ? a : b;
    }
  }
};
struct Max {
  template <class A>
  static A combine(A a, A b) {
    if constexpr (std::is_floating_point_v<A>) {
      return ((a > b) | (a != a)) ? a : b;
    } else {
      return a > b ? a : b;
    }
  }
};

/// Signed integers compare as such: the order of their unsigned accumulators differs.
template <class T, class Op>
struct Combine {
  using Acc = typename Element<T>::Acc;
  static Acc of(Acc a, Acc b) {
    if constexpr (std::is_integral_v<T> && std::is_signed_v<T> &&
                  (std::is_same_v<Op, Min> || std::is_same_v<Op, Max>)) {
      return static_cast<Acc>(Op::combine(static_cast<T>(a), static_cast<T>(b)));
    } else {
      return Op::combine(a, b);
    }
  }
};

template <class T, bool kAverage>
T finish(typename Element<T>::Acc value, std::size_t ranks) {
  using Acc = typename Element<T>::Acc;
  if constexpr (!kAverage) {
    return Element<T>::store(value);
  } else if constexpr (std::is_integral_v<T>) {
    // In 64 bits: the number of ranks may not fit T.
    return static_cast<T>(static_cast<std::int64_t>(static_cast<T>(value)) /
                          static_cast<std::int64_t>(ranks));
  } else {
    return Element<T>::store(value * (Acc(1) / static_cast<Acc>(ranks)));
  }
}

template <class T, class Op, bool kAverage>
void reduce_pair(const T* a, const T* b, T* out, std::size_t count) {
  GAMELAN_VECTORISE
  for (std::size_t i = 0; i < count; ++i) {
    out[i] =
        finish<T, kAverage>(Combine<T, Op>::of(Element<T>::load(a[i]), Element<T>::load(b[i])), 2);
  }
}

template <class T, class Op, bool kAverage>
void reduce_many(const std::byte* const* sources, std::size_t ranks, T* out, std::size_t count) {
  using Acc = typename Element<T>::Acc;
  alignas(64) Acc acc[kBlock];
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t size = std::min(kBlock, count - begin);
    const T* const first = reinterpret_cast<const T*>(sources[0]) + begin;
    for (std::size_t i = 0; i < size; ++i) {
      acc[i] = Element<T>::load(first[i]);
    }
    for (std::size_t rank = 1; rank < ranks; ++rank) {
      const T* const source = reinterpret_cast<const T*>(sources[rank]) + begin;
      for (std::size_t i = 0; i < size; ++i) {
        acc[i] = Combine<T, Op>::of(acc[i], Element<T>::load(source[i]));
      }
    }
    T* const target = out + begin;
    for (std::size_t i = 0; i < size; ++i) {
      target[i] = finish<T, kAverage>(acc[i], ranks);
    }
  }
}

template <class T, class Op, bool kAverage = false>
void reduce_typed(const std::byte* const* sources, std::size_t ranks, std::byte* out,
                  std::size_t count) {
  T* const target = reinterpret_cast<T*>(out);
  if (ranks == 1) {
    if (out != sources[0]) {
      std::memmove(out, sources[0], count * sizeof(T));
    }
  } else if (ranks == 2) {
    reduce_pair<T, Op, kAverage>(reinterpret_cast<const T*>(sources[0]),
                                 reinterpret_cast<const T*>(sources[1]), target, count);
  } else {
    reduce_many<T, Op, kAverage>(sources, ranks, target, count);
  }
}

void reduce_bool(const std::byte* const* sources, std::size_t ranks, std::byte* out,
                 std::size_t count, bool any) {
  for (std::size_t i = 0; i < count; ++i) {
    bool value = sources[0][i] != std::byte{0};
    for (std::size_t rank = 1; rank < ranks; ++rank) {
      const bool next = sources[rank][i] != std::byte{0};
      value = any ? (value | next) : (value & next);
    }
    out[i] = std::byte{value};
  }
}

void reduce(tensor::DType dtype, ReduceOp op, const std::byte* const* sources, std::size_t ranks,
            std::byte* out, std::size_t count) {
  tensor::visit_dtype(dtype, [&]<class T>(tensor::TypeTag<T>) {
    if constexpr (std::is_same_v<T, bool>) {
      reduce_bool(sources, ranks, out, count, op == ReduceOp::kSum || op == ReduceOp::kMax);
    } else {
      switch (op) {
        case ReduceOp::kSum:
          return reduce_typed<T, Sum>(sources, ranks, out, count);
        case ReduceOp::kAvg:
          return reduce_typed<T, Sum, true>(sources, ranks, out, count);
        case ReduceOp::kProduct:
          return reduce_typed<T, Product>(sources, ranks, out, count);
        case ReduceOp::kMin:
          return reduce_typed<T, Min>(sources, ranks, out, count);
        case ReduceOp::kMax:
          return reduce_typed<T, Max>(sources, ranks, out, count);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace gamelan::dist
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gamelan::dist {

HWY_EXPORT(reduce);

base::Status check_reducible(tensor::DType dtype, ReduceOp op) {
  if (dtype == tensor::DType::kBool && op == ReduceOp::kAvg) {
    return base::invalid_argument("bools have no average; use sum (or) or product (and)");
  }
  return base::OkStatus();
}

void reduce_in_order(tensor::DType dtype, ReduceOp op, std::span<const std::byte* const> sources,
                     std::byte* out, std::size_t count) {
  if (count > 0) {
    HWY_DYNAMIC_DISPATCH(reduce)(dtype, op, sources.data(), sources.size(), out, count);
  }
}

}  // namespace gamelan::dist
#endif
