#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cpu/attention_kernels.h"

namespace gamelan::kernels::cpu::detail {
namespace {

constexpr int kLanes = 16;
#include "kernels/cpu/attention_simd.inc"

#include "kernels/cpu/attention_group.inc"

#include "kernels/cpu/attention_bf16.inc"

#include "kernels/cpu/attention_tile.inc"

}  // namespace

const AttentionKernels kAttentionAvx512Bf16 = {run_task<Bf16Format>, merge_states};

}  // namespace gamelan::kernels::cpu::detail
