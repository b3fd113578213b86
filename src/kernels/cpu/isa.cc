#include "kernels/cpu/isa.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>

#include "base/log.h"

namespace gamelan::kernels::cpu {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"scalar",      "avx2",        "avx512",
                                                    "avx512_vnni", "avx512_bf16", "amx"};

IsaChoice logged_choice() {
  const IsaLevel best = isa_level_of(device::cpu_features());
  IsaChoice choice =
      choose_isa(std::getenv("GAMELAN_CPU_ISA"),
                 best == IsaLevel::kAmx && !device::request_amx() ? IsaLevel::kAvx512Bf16 : best);
  if (!choice.warning.empty()) {
    base::log().warn("{}", choice.warning);
  }
  return choice;
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
  if (!features.avx512_vnni) {
    return IsaLevel::kAvx512;
  }
  if (!features.avx512_bf16) {
    return IsaLevel::kAvx512Vnni;
  }
  return features.amx_bf16 && features.amx_int8 ? IsaLevel::kAmx : IsaLevel::kAvx512Bf16;
}

IsaChoice choose_isa(const char* wish, IsaLevel best) {
  if (wish == nullptr || *wish == '\0') {
    return {best, false, {}};
  }
  const std::optional<IsaLevel> named = isa_from_name(wish);
  if (!named) {
    return {best, false,
            fmt::format("GAMELAN_CPU_ISA: expected one of {}, got '{}'; using {}",
                        fmt::join(kNames, ", "), wish, name_of(best))};
  }
  if (*named > best) {
    return {best, false,
            fmt::format("GAMELAN_CPU_ISA: this machine offers {} at most, got '{}'; using {}",
                        name_of(best), wish, name_of(best))};
  }
  return {*named, true, {}};
}

const IsaChoice& isa_choice() {
  static const IsaChoice choice = logged_choice();
  return choice;
}

IsaLevel isa_level() {
  return isa_choice().level;
}

}  // namespace gamelan::kernels::cpu
