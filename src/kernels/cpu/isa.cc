#include "kernels/cpu/isa.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>

namespace gamelan::kernels::cpu {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"scalar", "avx2", "avx512", "avx512_bf16",
                                                    "amx"};

IsaLevel chosen_level() {
  const IsaLevel best = isa_level_of(device::cpu_features());
  const char* const wish = std::getenv("GAMELAN_CPU_ISA");
  const IsaLevel level =
      wish == nullptr ? best : std::min(best, isa_from_name(wish).value_or(best));
  return level == IsaLevel::kAmx && !device::request_amx() ? IsaLevel::kAvx512Bf16 : level;
}

}  // namespace

std::string_view name_of(IsaLevel level) {
  return kNames[static_cast<std::size_t>(level)];
}

std::optional<IsaLevel> isa_from_name(std::string_view name) {
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) {
    return std::nullopt;
  }
  return static_cast<IsaLevel>(found - kNames.begin());
}

IsaLevel isa_level_of(const device::CpuFeatures& features) {
  if (!features.avx2) {
    return IsaLevel::kScalar;
  }
  if (!features.avx512f) {
    return IsaLevel::kAvx2;
  }
  if (!features.avx512_bf16) {
    return IsaLevel::kAvx512;
  }
  return features.amx_bf16 && features.amx_int8 ? IsaLevel::kAmx : IsaLevel::kAvx512Bf16;
}

IsaLevel isa_level() {
  static const IsaLevel level = chosen_level();
  return level;
}

}  // namespace gamelan::kernels::cpu
