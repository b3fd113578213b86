#include <immintrin.h>

#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/packed_int4.h"

#define GAMELAN_ISA avx512_bf16
#define GAMELAN_LANES 16
#include "kernels/cpu/inl/simd-inl.h"
// In this order: each uses those above it.
#include "kernels/cpu/inl/dot4_vnni-inl.h"
#include "kernels/cpu/inl/f16_avx512-inl.h"
#include "kernels/cpu/inl/int4_avx512-inl.h"
#include "kernels/cpu/inl/linear-inl.h"
#include "kernels/cpu/inl/linear_bf16-inl.h"
#include "kernels/cpu/inl/int_sums-inl.h"
#include "kernels/cpu/inl/linear_int-inl.h"
#include "kernels/cpu/inl/linear_int4-inl.h"
#include "kernels/cpu/inl/linear_int4_bf16-inl.h"
#include "kernels/cpu/inl/linear_table-inl.h"

namespace gamelan::kernels::cpu {

const LinearKernels& linear_kernels_avx512_bf16() {
  static const LinearKernels table = [] {
    LinearKernels made = avx512_bf16::make_table();
    constexpr auto kBF16 = static_cast<std::size_t>(WeightScheme::kBF16);
    made.tile[kBF16] = avx512_bf16::bf16_tile;
    made.prepare[kBF16] = avx512_bf16::prepare_bf16;
    constexpr auto kInt4 = static_cast<std::size_t>(WeightScheme::kInt4);
    made.tile[kInt4] = avx512_bf16::int4_bf16_tile;
    made.prepare[kInt4] = avx512_bf16::prepare_bf16;
    made.bf16_activation_bytes = 2;
    return made;
  }();
  return table;
}

}  // namespace gamelan::kernels::cpu
