#pragma once

#include <vector>

namespace gamelan::bench {

/// The value below which the fraction `q` (0…1) of the samples lie; 0 for none.
double quantile(std::vector<double> samples, double q);
inline double median(const std::vector<double>& samples) {
  return quantile(samples, 0.5);
}

}  // namespace gamelan::bench
