#include <immintrin.h>

#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/packed_int4.h"

#define GAMELAN_ISA avx2
#define GAMELAN_LANES 8
#include "kernels/cpu/inl/simd-inl.h"
// In this order: each uses those above it.
#include "kernels/cpu/inl/dot4_plain-inl.h"
#include "kernels/cpu/inl/f16_avx2-inl.h"
#include "kernels/cpu/inl/int4_avx2-inl.h"
#include "kernels/cpu/inl/linear-inl.h"
#include "kernels/cpu/inl/int_sums-inl.h"
#include "kernels/cpu/inl/linear_int-inl.h"
#include "kernels/cpu/inl/linear_int4-inl.h"
#include "kernels/cpu/inl/linear_table-inl.h"

namespace gamelan::kernels::cpu {

const LinearKernels& linear_kernels_avx2() {
  static const LinearKernels table = avx2::make_table();
  return table;
}

}  // namespace gamelan::kernels::cpu
