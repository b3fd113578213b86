#include <immintrin.h>

#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/packed_int4.h"

#define GAMELAN_ISA avx512_vnni
#define GAMELAN_LANES 16
#include "kernels/cpu/inl/simd-inl.h"
// In this order: each uses those above it.
#include "kernels/cpu/inl/dot4_vnni-inl.h"
#include "kernels/cpu/inl/f16_avx512-inl.h"
#include "kernels/cpu/inl/int4_avx512-inl.h"
#include "kernels/cpu/inl/int_sums-inl.h"
#include "kernels/cpu/inl/linear-inl.h"
#include "kernels/cpu/inl/linear_int-inl.h"
#include "kernels/cpu/inl/linear_int4-inl.h"
#include "kernels/cpu/inl/linear_table-inl.h"

namespace gamelan::kernels::cpu {

const LinearKernels& linear_kernels_avx512_vnni() {
  static const LinearKernels table = avx512_vnni::make_table();
  return table;
}

}  // namespace gamelan::kernels::cpu
