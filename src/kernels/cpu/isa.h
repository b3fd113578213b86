#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "device/cpu.h"

namespace gamelan::kernels::cpu {

/// What a kernel may use; each level includes those before it. kAvx2 stands for AVX2 with FMA and
/// F16C, kAvx512 for F, BW, DQ and VL, kAvx512Vnni for vpdpbusd besides, kAvx512Bf16 for vdpbf16ps,
/// kAmx for tiles of bf16 and 8-bit integers.
enum class IsaLevel { kScalar, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16, kAmx };

/// "scalar", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx".
std::string_view name_of(IsaLevel level);
/// The inverse of name_of; nullopt for an unknown name.
std::optional<IsaLevel> isa_from_name(std::string_view name);

/// The highest level of a CPU with these features.
IsaLevel isa_level_of(const device::CpuFeatures& features);

/// A level, and how it came about.
struct IsaChoice {
  IsaLevel level = IsaLevel::kScalar;
  /// The environment variable GAMELAN_CPU_ISA named it.
  bool forced = false;
  /// Why GAMELAN_CPU_ISA was not followed; empty where it was, or is not set.
  std::string warning;
};
/// The level where `best` is the highest that can be had and GAMELAN_CPU_ISA is `wish` (null or
/// empty: not set). A higher or unknown level changes nothing and earns a warning.
IsaChoice choose_isa(const char* wish, IsaLevel best);

/// What kernels use: the CPU's level, or a lower one when GAMELAN_CPU_ISA names it, or when the
/// system does not give this process the tile registers. Decided at the first call, which logs the
/// warning.
const IsaChoice& isa_choice();
/// isa_choice().level.
IsaLevel isa_level();

}  // namespace gamelan::kernels::cpu
