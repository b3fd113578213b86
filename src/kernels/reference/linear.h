#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gamelan::kernels::reference {

/// y[r][n] = sum over k of x[r][k] * w[n][k], in double, and beside it the sum of magnitudes that error
/// bounds are made of. x [rows, in], w [out, in], results [rows, out].
struct Product {
  std::vector<double> value;
  std::vector<double> magnitude;
};

inline Product linear(const std::vector<double>& x, const std::vector<double>& w, std::int64_t rows,
                      std::int64_t in, std::int64_t out) {
  Product result;
  result.value.resize(static_cast<std::size_t>(rows * out));
  result.magnitude.resize(result.value.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t n = 0; n < out; ++n) {
      double sum = 0.0;
      double magnitude = 0.0;
      for (std::int64_t k = 0; k < in; ++k) {
        const double term =
            x[static_cast<std::size_t>(r * in + k)] * w[static_cast<std::size_t>(n * in + k)];
        sum += term;
        magnitude += std::fabs(term);
      }
      result.value[static_cast<std::size_t>(r * out + n)] = sum;
      result.magnitude[static_cast<std::size_t>(r * out + n)] = magnitude;
    }
  }
  return result;
}

}  // namespace gamelan::kernels::reference
