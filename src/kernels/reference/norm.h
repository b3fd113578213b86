#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace gamelan::kernels::reference {

/// A row's norm in double: value = (x - mean) * factor * weight + bias. What error bounds are made
/// of stands beside it.
struct NormedRow {
  std::vector<double> value;
  double mean = 0.0;
  double mean_magnitude = 0.0;
  /// 1 / sqrt(variance + epsilon); of rms_norm 1 / sqrt(mean square + epsilon).
  double factor = 0.0;
};

namespace detail {

/// Centres x around `mean`, which is 0 for rms_norm.
inline NormedRow norm_around(double mean, std::span<const float> x, std::span<const float> weight,
                             std::span<const float> bias, double epsilon) {
  const auto count = static_cast<double>(x.size());
  NormedRow row;
  row.mean = mean;
  double square = 0.0;
  for (const float number : x) {
    square += (number - mean) * (number - mean) / count;
    row.mean_magnitude += std::fabs(number) / count;
  }
  row.factor = 1.0 / std::sqrt(square + epsilon);
  for (std::size_t i = 0; i < x.size(); ++i) {
    row.value.push_back((x[i] - mean) * row.factor * (weight.empty() ? 1.0F : weight[i]) +
                        (bias.empty() ? 0.0F : bias[i]));
  }
  return row;
}

}  // namespace detail

/// Ba et al. 2016. weight and bias have as many numbers as x, or none.
inline NormedRow layer_norm(std::span<const float> x, std::span<const float> weight,
                            std::span<const float> bias, double epsilon) {
  double mean = 0.0;
  for (const float number : x) {
    mean += number / static_cast<double>(x.size());
  }
  return detail::norm_around(mean, x, weight, bias, epsilon);
}

/// Zhang and Sennrich 2019.
inline NormedRow rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon) {
  return detail::norm_around(0.0, x, weight, {}, epsilon);
}

}  // namespace gamelan::kernels::reference
