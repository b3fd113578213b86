#include "kernels/alibi.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace gamelan::kernels {

std::vector<float> alibi_slopes(std::int64_t heads) {
  std::vector<float> slopes;
  if (heads <= 0) {
    return slopes;
  }
  const auto whole =
      static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(heads)));  // c
  // base^i = 2^(-8 i / c)
  const auto power = [](double i, double c) { return static_cast<float>(std::exp2(-8.0 * i / c)); };
  for (std::int64_t i = 1; i <= whole; ++i) {
    slopes.push_back(power(static_cast<double>(i), static_cast<double>(whole)));
  }
  for (std::int64_t i = 1; static_cast<std::int64_t>(slopes.size()) < heads; i += 2) {
    slopes.push_back(power(static_cast<double>(i), static_cast<double>(2 * whole)));
  }
  return slopes;
}

}  // namespace gamelan::kernels
