#include "kernels/cpu/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <vector>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/rotary.h"
#include "kernels/reference/elementwise.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/rotary.h"

namespace gamelan::kernels::cpu {
namespace {

// Half a unit in the last place of a number near 1.
const double kUnit = std::ldexp(1.0, -24);

class Rows : public testing::TestWithParam<std::int64_t> {
 protected:
  Rows() : columns(GetParam()), x(kRows * columns), weight(columns), bias(columns) {
    for (std::int64_t i = 0; i < kRows * columns; ++i) {
      x[i] = static_cast<float>(std::sin(0.7 * static_cast<double>(i)) + 3.0);
    }
    for (std::int64_t i = 0; i < columns; ++i) {
      weight[i] = 1.0F + 0.01F * static_cast<float>(i % 13);
      bias[i] = 0.1F * static_cast<float>(i % 7);
    }
  }
  static constexpr std::int64_t kRows = 9;
  /// Roundings on a number's way through a mean: columns / 16 additions in a lane, four that join
  /// the lanes, the division.
  double mean_roundings() const { return std::ceil(static_cast<double>(columns) / 16) + 5; }
  std::span<const float> row_of(const std::vector<float>& numbers, std::int64_t row) const {
    return std::span(numbers).subspan(row * columns, columns);
  }
  /// Row by row, y [kRows, columns] against `expected`.
  template <class Expected>
  void expect_normed(const std::vector<float>& before, const std::vector<float>& y,
                     double mean_roundings_of_centre, Expected&& expected) const;
  std::int64_t columns;
  std::vector<float> x;
  std::vector<float> weight;
  std::vector<float> bias;
  device::ThreadPool pool{{.threads = 3}};
  device::Arena arena;
  Context context{.threads = &pool, .workspace = &arena};
  tensor::MatrixView<float> view() { return {x.data(), kRows, columns}; }
};

// The mean errs by `shift`: its roundings of the mean magnitude. The mean square around it grows by
// shift^2, and errs by the roundings of a mean and of x - mean, squared; the factor by half of
// that, and by those of + eps, the root and the division. Three more roundings make the product,
// one the sum with the bias. 1 % is for products of errors.
template <class Expected>
void Rows::expect_normed(const std::vector<float>& before, const std::vector<float>& y,
                         double mean_roundings_of_centre, Expected&& expected) const {
  for (std::int64_t r = 0; r < kRows; ++r) {
    const std::span<const float> from = row_of(before, r);
    const reference::NormedRow row = expected(from);
    const double shift = mean_roundings_of_centre * kUnit * row.mean_magnitude;
    const double factor_error =
        (std::pow(shift * row.factor, 2) + (mean_roundings() + 3) * kUnit) / 2 + 3 * kUnit;
    for (std::int64_t i = 0; i < columns; ++i) {
      const double centred = std::fabs(from[i] - row.mean);
      const double bound =
          std::fabs(weight[i]) * row.factor * (shift + centred * (factor_error + 3 * kUnit)) +
          kUnit * std::fabs(row.value[i]);
      EXPECT_NEAR(row_of(y, r)[i], row.value[i], 1.01 * bound) << "row " << r << ", column " << i;
    }
  }
}

TEST_P(Rows, LayerNormEqualsTheReference) {
  const std::vector<float> before = x;
  layer_norm(context, view(), {weight.data(), bias.data(), 1e-5F}, view());
  expect_normed(before, x, mean_roundings(), [&](std::span<const float> row) {
    return reference::layer_norm(row, weight, bias, 1e-5F);
  });
}

TEST_P(Rows, RmsNormEqualsTheReference) {
  std::vector<float> y(x.size());
  rms_norm(context, view(), {weight.data(), nullptr, 1e-6F}, {y.data(), kRows, columns});
  expect_normed(x, y, 0.0, [&](std::span<const float> row) {
    return reference::rms_norm(row, weight, 1e-6F);
  });
}

TEST_P(Rows, ElementwiseEqualsTheReference) {
  std::vector<float> y(x.size());
  const tensor::MatrixView<float> out{y.data(), kRows, columns};
  copy(context, view(), out);
  EXPECT_EQ(y, x);
  // One addition is rounded once: double holds the sum of two f32 with bits to spare.
  add(context, view(), out);
  for (std::size_t i = 0; i < y.size(); ++i) {
    ASSERT_EQ(y[i], static_cast<float>(reference::add(x[i], x[i])));
  }
  const std::vector<float> sum = y;
  add_bias(context, bias.data(), out);
  for (std::size_t i = 0; i < y.size(); ++i) {
    ASSERT_EQ(y[i], static_cast<float>(reference::add(sum[i], bias[i % columns])));
  }
  tanh(context, view(), out);
  for (std::size_t i = 0; i < y.size(); ++i) {
    // The C library's is good to 2 units in the last place.
    const double expected = reference::tanh(x[i]);
    ASSERT_NEAR(y[i], expected, 4 * kUnit * std::fabs(expected));
  }
}

INSTANTIATE_TEST_SUITE_P(Columns, Rows,
                         testing::Values(1, 2, 3, 15, 16, 17, 31, 33, 100, 255, 257, 1024, 1031));

TEST(Rotary, EqualsTheReferenceForOddSizes) {
  device::ThreadPool pool({.threads = 3});
  device::Arena arena;
  constexpr std::int64_t kPositions = 11;
  constexpr std::int64_t kHeads = 5;
  const std::vector<std::int32_t> positions = {10, 0, 3, 3, 7, 1, 9};
  const auto rows = static_cast<std::int64_t>(positions.size());
  for (const std::int64_t head_dim : {2, 3, 5, 16, 33, 63, 64, 80, 129, 257}) {
    for (const std::int64_t half : {head_dim / 2, (head_dim + 3) / 4, std::int64_t{1}}) {
      SCOPED_TRACE(testing::Message() << "head_dim " << head_dim << ", rotary_dim " << 2 * half);
      std::vector<float> cosine(kPositions * half);
      std::vector<float> sine(kPositions * half);
      for (std::int64_t i = 0; i < kPositions * half; ++i) {
        cosine[i] = static_cast<float>(std::cos(0.37 * static_cast<double>(i)));
        sine[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i)));
      }
      const std::int64_t columns = kHeads * head_dim;
      std::vector<float> x(rows * columns);
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        x[i] = static_cast<float>(3 * std::sin(1.3 * static_cast<double>(i)));
      }
      const std::vector<float> before = x;
      rotate({.threads = &pool, .workspace = &arena}, positions,
             {{cosine.data(), kPositions, half}, {sine.data(), kPositions, half}}, kHeads, head_dim,
             {x.data(), rows, columns});
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t at = positions[row] * half;
        const reference::Rotated expected = reference::rotate(
            std::span(before).subspan(row * columns, columns), std::span(cosine).subspan(at, half),
            std::span(sine).subspan(at, half), head_dim);
        for (std::int64_t i = 0; i < columns; ++i) {
          // Two products and their sum: each term is rounded twice. What does not rotate keeps its
          // bits.
          ASSERT_NEAR(x[row * columns + i], expected.value[i],
                      1.01 * 2 * kUnit * expected.magnitude[i])
              << "row " << row << ", column " << i;
        }
      }
    }
  }
}

TEST(Rotary, RotatesThePairsOfEveryHeadAndLeavesTheRest) {
  device::ThreadPool pool({.threads = 2});
  device::Arena arena;
  const std::vector<float> cosine = {1, 1, 0.6F, 0};
  const std::vector<float> sine = {0, 0, 0.8F, 1};
  std::vector<float> x = {1, 2, 3, 4, 9, 5, 6, 7, 8, 9};  // two heads of five, rotary_dim 4
  const std::vector<std::int32_t> positions = {1};
  rotate({.threads = &pool, .workspace = &arena}, positions,
         {{cosine.data(), 2, 2}, {sine.data(), 2, 2}}, 2, 5, {x.data(), 1, 10});
  const std::vector<float> expected = {-1.8F, -4, 2.6F, 2, 9, -2.6F, -8, 8.2F, 6, 9};
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(x[i], expected[i], 1e-6) << i;
  }
}

}  // namespace
}  // namespace gamelan::kernels::cpu
