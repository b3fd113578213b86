#include "kernels/cpu/attention_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace gamelan::kernels::cpu::detail {
namespace {

constexpr int kLanes = 8;
#include "kernels/cpu/attention_simd.inc"

#include "kernels/cpu/attention_group.inc"
using Bf16Format = Bf16SplitFormat;
#include "kernels/cpu/attention_tile.inc"

}  // namespace

const AttentionKernels kAttentionAvx2 = {run_task<Bf16Format>, merge_states};

}  // namespace gamelan::kernels::cpu::detail
