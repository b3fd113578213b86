#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace gamelan::kernels {

/// `count` draws of the standard normal distribution.
inline std::vector<float> random_numbers(std::int64_t count, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& number : numbers) {
    number = normal(generator);
  }
  return numbers;
}

}  // namespace gamelan::kernels
