#include "kernels/cpu/attention_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace gamelan::kernels::cpu::detail {
namespace {

constexpr int kLanes = 16;
#include "kernels/cpu/attention_simd.inc"
using Bf16Format = Bf16SplitFormat;
#include "kernels/cpu/attention_tile.inc"

}  // namespace

const AttentionKernels kAttentionAvx512 = {run_task, merge_states};

}  // namespace gamelan::kernels::cpu::detail
