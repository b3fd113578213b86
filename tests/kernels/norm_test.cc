#include "kernels/cpu/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/rotary.h"

namespace gamelan::kernels::cpu {
namespace {

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
  // Of numbers near 3 with a deviation of 0.7: cancellation in x - mean costs about 8 eps.
  static constexpr double kTolerance = 64 * 6e-8;
  std::int64_t columns;
  std::vector<float> x;
  std::vector<float> weight;
  std::vector<float> bias;
  device::ThreadPool pool{{.threads = 3}};
  device::Arena arena;
  Context context{.threads = &pool, .workspace = &arena};
  tensor::MatrixView<float> view() { return {x.data(), kRows, columns}; }
};

TEST_P(Rows, LayerNormEqualsTheDefinition) {
  const std::vector<float> before = x;
  layer_norm(context, view(), {weight.data(), bias.data(), 1e-5F}, view());
  for (std::int64_t row = 0; row < kRows; ++row) {
    double mean = 0;
    double variance = 0;
    for (std::int64_t i = 0; i < columns; ++i) {
      mean += before[row * columns + i] / static_cast<double>(columns);
    }
    for (std::int64_t i = 0; i < columns; ++i) {
      variance += std::pow(before[row * columns + i] - mean, 2) / static_cast<double>(columns);
    }
    const double factor = 1 / std::sqrt(variance + 1e-5);
    // One column has no variance: what is left is rounding, magnified by 1 / sqrt(eps).
    for (std::int64_t i = 0; i < columns; ++i) {
      const double expected = (before[row * columns + i] - mean) * factor * weight[i] + bias[i];
      EXPECT_NEAR(x[row * columns + i], expected, kTolerance * std::max(1.0, factor));
    }
  }
}

TEST_P(Rows, RmsNormEqualsTheDefinition) {
  std::vector<float> y(x.size());
  rms_norm(context, view(), {weight.data(), nullptr, 1e-6F}, {y.data(), kRows, columns});
  for (std::int64_t row = 0; row < kRows; ++row) {
    double square = 0;
    for (std::int64_t i = 0; i < columns; ++i) {
      square += std::pow(x[row * columns + i], 2) / static_cast<double>(columns);
    }
    for (std::int64_t i = 0; i < columns; ++i) {
      EXPECT_NEAR(y[row * columns + i], x[row * columns + i] / std::sqrt(square + 1e-6) * weight[i],
                  kTolerance);
    }
  }
}

TEST_P(Rows, ElementwiseEqualsTheDefinition) {
  std::vector<float> y(x.size());
  const tensor::MatrixView<float> out{y.data(), kRows, columns};
  copy(context, view(), out);
  EXPECT_EQ(y, x);
  add(context, view(), out);
  add_bias(context, bias.data(), out);
  for (std::size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(y[i], x[i] + x[i] + bias[i % columns]);
  }
  tanh(context, view(), out);
  for (std::size_t i = 0; i < y.size(); ++i) {
    EXPECT_NEAR(y[i], std::tanh(static_cast<double>(x[i])), 2e-7);
  }
}

INSTANTIATE_TEST_SUITE_P(Columns, Rows, testing::Values(1, 2, 15, 16, 17, 100, 1024));

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
