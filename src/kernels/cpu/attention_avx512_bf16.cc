#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cpu/attention_kernels.h"

namespace gamelan::kernels::cpu::detail {
namespace {

constexpr int kLanes = 16;
#include "kernels/cpu/attention_simd.inc"

/// Pairs of bf16 by vdpbf16ps: queries and weights are rounded to bf16 too, sums stay f32.
struct Bf16Format {
  using Coefficient = std::uint32_t;
  using Element = std::uint32_t;
  static constexpr std::int64_t kStep = 2;
  static Floats product(Floats sum, Coefficient factor, __m512i bits) {
    return (Floats)_mm512_dpbf16_ps(
        (__m512)sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(factor)), (__m512bh)bits);
  }
  static Floats add_product(Floats sum, Coefficient factor, const Element* from) {
    return product(sum, factor, _mm512_loadu_si512(from));
  }
  static Floats add_first(Floats sum, Coefficient factor, const Element* from) {
    const __m512i low = _mm512_set1_epi32(0xFFFF);
    return product(sum, factor, _mm512_and_si512(_mm512_loadu_si512(from), low));
  }
  static std::uint32_t bits_of(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
  }
  static void prepare(const float* from, std::int64_t count, Coefficient* to) {
    std::int64_t i = 0;
    for (; i + 32 <= count; i += 32) {
      const __m512bh pairs =
          _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16), _mm512_loadu_ps(from + i));
      _mm512_storeu_si512(to + i / 2, (__m512i)pairs);
    }
    for (; i < count; i += 2) {
      to[i / 2] = bits_of(from[i]) | (i + 1 < count ? bits_of(from[i + 1]) << 16 : 0U);
    }
  }
  /// To bf16 and back, so that the sum of the weights is of what is multiplied.
  static Floats rounded(Floats value) {
    const Ints bits = (Ints)value;
    return (Floats)((bits + 0x7FFF + (bits >> 16 & 1)) & static_cast<std::int32_t>(0xFFFF0000U));
  }
};
#include "kernels/cpu/attention_tile.inc"

}  // namespace

const AttentionKernels kAttentionAvx512Bf16 = {run_task, merge_states};

}  // namespace gamelan::kernels::cpu::detail
