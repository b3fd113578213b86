#include "kernels/cpu/linear_kernels.h"

namespace gamelan::kernels::cpu {

const LinearKernels& linear_kernels_of(IsaLevel level) {
  switch (level) {
    case IsaLevel::kAmx:
      return linear_kernels_amx();
    case IsaLevel::kAvx512Bf16:
      return linear_kernels_avx512_bf16();
    case IsaLevel::kAvx512Vnni:
      return linear_kernels_avx512_vnni();
    case IsaLevel::kAvx512:
      return linear_kernels_avx512();
    case IsaLevel::kAvx2:
      return linear_kernels_avx2();
    case IsaLevel::kScalar:
      break;
  }
  return linear_kernels_scalar();
}

}  // namespace gamelan::kernels::cpu
