#include "bench/support/statistics.h"

#include <algorithm>
#include <cstddef>

namespace gamelan::bench {

double quantile(std::vector<double> samples, double q) {
  if (samples.empty()) {
    return 0;
  }
  const auto at = std::min(samples.size() - 1,
                           static_cast<std::size_t>(q * static_cast<double>(samples.size())));
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(at),
                   samples.end());
  return samples[at];
}

}  // namespace gamelan::bench
