#pragma once

// Functions of single numbers by their definitions, in double.

#include <algorithm>
#include <cmath>

namespace gamelan::kernels::reference {

/// x times the normal distribution's share below x (Hendrycks and Gimpel 2016).
inline double gelu(double x) {
  return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
}
/// The same paper's approximation.
inline double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
inline double relu(double x) {
  return std::max(x, 0.0);
}
inline double silu(double x) {
  return x / (1 + std::exp(-x));
}
inline double tanh(double x) {
  return std::tanh(x);
}
inline double add(double x, double y) {
  return x + y;
}

}  // namespace gamelan::kernels::reference
