#include "kernels/cpu/row_kernels.h"

namespace gamelan::kernels::cpu::detail {
namespace {
#include "kernels/cpu/rows.inc"
}  // namespace

const RowKernels kRowsAvx2 = {layer_norm_row, rms_norm_row, add_row,
                              rotate_row,     round_row,    pair_rows};

}  // namespace gamelan::kernels::cpu::detail
