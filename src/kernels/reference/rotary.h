#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gamelan::kernels::reference {

/// The numbers of a row, and beside each the sum of the magnitudes it is made of; where nothing
/// rotates that is 0.
struct Rotated {
  std::vector<double> value;
  std::vector<double> magnitude;
};

/// Rotates the first 2 * cosine.size() numbers of every head of x [heads * head_dim] in double:
/// (x[j], x[j + half]) as a complex number times cosine[j] + i sine[j] (Su et al. 2021).
inline Rotated rotate(std::span<const float> x, std::span<const float> cosine,
                      std::span<const float> sine, std::size_t head_dim) {
  const std::size_t half = cosine.size();
  Rotated result{{x.begin(), x.end()}, std::vector<double>(x.size())};
  for (std::size_t head = 0; head < x.size(); head += head_dim) {
    for (std::size_t j = 0; j < half; ++j) {
      const double real = x[head + j];
      const double imaginary = x[head + j + half];
      result.value[head + j] = real * cosine[j] - imaginary * sine[j];
      result.value[head + j + half] = real * sine[j] + imaginary * cosine[j];
      result.magnitude[head + j] = std::fabs(real * cosine[j]) + std::fabs(imaginary * sine[j]);
      result.magnitude[head + j + half] =
          std::fabs(real * sine[j]) + std::fabs(imaginary * cosine[j]);
    }
  }
  return result;
}

}  // namespace gamelan::kernels::reference
