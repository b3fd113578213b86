#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/packed_int4.h"

#define GAMELAN_ISA scalar
#define GAMELAN_LANES 4
#include "kernels/cpu/inl/simd-inl.h"
// In this order: each uses those above it.
#include "kernels/cpu/inl/dot4_plain-inl.h"
#include "kernels/cpu/inl/f16_plain-inl.h"
#include "kernels/cpu/inl/int4_plain-inl.h"
#include "kernels/cpu/inl/linear-inl.h"
#include "kernels/cpu/inl/int_sums-inl.h"
#include "kernels/cpu/inl/linear_int-inl.h"
#include "kernels/cpu/inl/linear_int4-inl.h"
#include "kernels/cpu/inl/linear_table-inl.h"

namespace gamelan::kernels::cpu {

const LinearKernels& linear_kernels_scalar() {
  static const LinearKernels table = scalar::make_table();
  return table;
}

}  // namespace gamelan::kernels::cpu
