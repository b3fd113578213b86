#include "kernels/cpu/row_kernels.h"

#include "kernels/cpu/isa.h"

namespace gamelan::kernels::cpu::detail {

const RowKernels& row_kernels() {
  switch (isa_level()) {
    case IsaLevel::kScalar:
      return kRowsScalar;
    case IsaLevel::kAvx2:
      return kRowsAvx2;
    case IsaLevel::kAvx512:
    case IsaLevel::kAvx512Vnni:
    case IsaLevel::kAvx512Bf16:
    case IsaLevel::kAmx:
      break;
  }
  return kRowsAvx512;
}

}  // namespace gamelan::kernels::cpu::detail
