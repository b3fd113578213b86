#pragma once

#include <optional>
#include <string_view>

#include "device/cpu.h"

namespace gamelan::kernels::cpu {

/// What a kernel may use; each level includes those before it. kAvx2 stands for AVX2 with FMA and
/// F16C, kAvx512 for F, BW, DQ and VL, kAvx512Bf16 for vdpbf16ps besides, kAmx for tiles of bf16
/// and 8-bit integers.
enum class IsaLevel { kScalar, kAvx2, kAvx512, kAvx512Bf16, kAmx };

/// "scalar", "avx2", "avx512", "avx512_bf16", "amx".
std::string_view name_of(IsaLevel level);
/// The inverse of name_of; nullopt for an unknown name.
std::optional<IsaLevel> isa_from_name(std::string_view name);

/// The highest level of a CPU with these features.
IsaLevel isa_level_of(const device::CpuFeatures& features);

/// The level that kernels use: the CPU's, or a lower one when the environment variable
/// GAMELAN_CPU_ISA names it (a higher or unknown one changes nothing), or when the system does not
/// give this process the tile registers. Decided at the first call.
IsaLevel isa_level();

}  // namespace gamelan::kernels::cpu
