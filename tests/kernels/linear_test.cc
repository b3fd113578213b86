// Every scheme of the linear layer at the level of instruction sets that is active, against the
// double reference; CMakeLists.txt registers the same cases once more at each lower level.
#include "kernels/cpu/linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/reference/elementwise.h"
#include "kernels/reference/linear.h"
#include "tensor/dtype.h"
#include "tests/kernels/random_numbers.h"

namespace gamelan::kernels::cpu {
namespace {

using tensor::MatrixView;

constexpr double kEps32 = 0x1p-23;

RowReader reader_of(const std::vector<float>& w, std::int64_t in) {
  return [&w, in](std::int64_t first, std::int64_t count, std::span<float> out) {
    std::copy_n(w.begin() + first * in, count * in, out.begin());
  };
}

std::vector<double> as_double(const std::vector<float>& numbers) {
  return {numbers.begin(), numbers.end()};
}

class LinearTest : public testing::TestWithParam<PackOptions> {
 protected:
  PackedLinear pack(const std::vector<float>& w, std::int64_t out, std::int64_t in) {
    auto packed = PackedLinear::pack(context_, out, in, reader_of(w, in), GetParam());
    EXPECT_TRUE(packed.ok()) << packed.status();
    return *std::move(packed);
  }
  std::vector<float> apply(const PackedLinear& packed, const std::vector<float>& x,
                           std::int64_t rows, const LinearOptions& options = {},
                           std::vector<float> y = {}) {
    const std::int64_t width = packed.out_features() / (options.gated ? 2 : 1);
    y.resize(static_cast<std::size_t>(rows * width));
    linear(context_, packed, MatrixView<const float>(x.data(), rows, packed.in_features()),
           MatrixView<float>(y.data(), rows, width), options);
    return y;
  }
  /// The weights as the scheme keeps them.
  static std::vector<double> kept(const PackedLinear& packed) {
    std::vector<double> w;
    std::vector<float> row(static_cast<std::size_t>(packed.in_features()));
    for (std::int64_t n = 0; n < packed.out_features(); ++n) {
      packed.read_row(n, row);
      w.insert(w.end(), row.begin(), row.end());
    }
    return w;
  }
  /// The activations as the scheme's products see them, and the largest error of one against x.
  static std::vector<double> seen(const std::vector<float>& x) {
    std::vector<double> result = as_double(x);
    if (GetParam().scheme == WeightScheme::kBF16 || GetParam().scheme == WeightScheme::kInt4) {
      std::transform(x.begin(), x.end(), result.begin(),
                     [](float v) { return tensor::to_float(tensor::to_bfloat16(v)); });
    }
    return result;
  }
  /// What rounding the activations of row r to integers may add to an output: half a step an input.
  static double step(const std::vector<float>& x, std::int64_t r, std::int64_t in) {
    const double limit = GetParam().scheme == WeightScheme::kInt8          ? 32767
                         : GetParam().scheme == WeightScheme::kInt8Dynamic ? 127
                                                                           : 0;
    double largest = 0;
    for (std::int64_t k = 0; k < in; ++k) {
      largest = std::max(largest, std::fabs(double{x[static_cast<std::size_t>(r * in + k)]}));
    }
    return limit == 0 ? 0.0 : largest / limit;
  }
  void expect_close(const std::vector<float>& y, const PackedLinear& packed,
                    const std::vector<float>& x, std::int64_t rows);

  device::ThreadPool pool_{{.threads = 3, .spin = std::chrono::microseconds(20)}};
  device::Arena workspace_;
  Context context_{.threads = &pool_, .workspace = &workspace_};
};

void LinearTest::expect_close(const std::vector<float>& y, const PackedLinear& packed,
                              const std::vector<float>& x, std::int64_t rows) {
  const std::int64_t in = packed.in_features();
  const std::int64_t out = packed.out_features();
  const std::vector<double> w = kept(packed);
  const reference::Product expected = reference::linear(seen(x), w, rows, in, out);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t n = 0; n < out; ++n) {
      double column = 0.0;
      for (std::int64_t k = 0; k < in; ++k) {
        column += std::fabs(w[static_cast<std::size_t>(n * in + k)]);
      }
      const auto i = static_cast<std::size_t>(r * out + n);
      // A chain of `in` additions, each with a relative error of eps, and the rounding of
      // activations.
      const double bound = (static_cast<double>(in) + 4) * kEps32 * expected.magnitude[i] +
                           0.51 * step(x, r, in) * column + 1e-30;
      ASSERT_NEAR(y[i], expected.value[i], bound) << "row " << r << ", output " << n;
    }
  }
}

TEST_P(LinearTest, EqualsTheReferenceForOddSizes) {
  for (const std::int64_t in : {1, 7, 64, 65, 130, 1000}) {
    for (const std::int64_t out : {1, 63, 64, 65, 200}) {
      const std::vector<float> w = random_numbers(in * out, 1);
      const PackedLinear packed = pack(w, out, in);
      for (const std::int64_t rows : {1, 2, 3, 6, 8, 9, 17}) {
        const std::vector<float> x = random_numbers(rows * in, 2);
        SCOPED_TRACE(testing::Message() << rows << " x " << in << " x " << out);
        expect_close(apply(packed, x, rows), packed, x, rows);
        if (HasFatalFailure()) {
          return;
        }
      }
    }
  }
}

TEST_P(LinearTest, EqualsTheReferenceForManyRows) {
  // Several blocks of inputs, several panels together, tiles that are not full.
  constexpr std::int64_t kIn = 1059;
  constexpr std::int64_t kOut = 330;
  constexpr std::int64_t kRows = 113;
  const PackedLinear packed = pack(random_numbers(kIn * kOut, 21), kOut, kIn);
  const std::vector<float> x = random_numbers(kRows * kIn, 22);
  expect_close(apply(packed, x, kRows), packed, x, kRows);
}

TEST_P(LinearTest, ARowHasTheSameBitsAloneAndInABatch) {
  constexpr std::int64_t kIn = 1059;
  constexpr std::int64_t kOut = 341;
  const std::vector<float> w = random_numbers(kIn * kOut, 3);
  const PackedLinear packed = pack(w, kOut, kIn);
  for (const std::int64_t rows : {23, 131}) {
    const std::vector<float> x = random_numbers(rows * kIn, 4);
    const std::vector<float> together = apply(packed, x, rows);
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::vector<float> row(x.begin() + r * kIn, x.begin() + (r + 1) * kIn);
      const std::vector<float> alone = apply(packed, row, 1);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + r * kOut))
          << "row " << r << " of " << rows;
    }
  }
}

TEST_P(LinearTest, AddsBiasActivatesAndAccumulates) {
  constexpr std::int64_t kIn = 33;
  constexpr std::int64_t kOut = 70;
  constexpr std::int64_t kRows = 9;
  const PackedLinear packed = pack(random_numbers(kIn * kOut, 5), kOut, kIn);
  const std::vector<float> x = random_numbers(kRows * kIn, 6);
  const std::vector<float> bias = random_numbers(kOut, 7);
  const std::vector<float> plain = apply(packed, x, kRows);
  const std::vector<float> before = random_numbers(kRows * kOut, 8);
  using Function = double (*)(double);
  const std::vector<std::pair<LinearActivation, Function>> activations = {
      {LinearActivation::kNone, [](double v) { return v; }},
      {LinearActivation::kGelu, reference::gelu},
      {LinearActivation::kGeluTanh, reference::gelu_tanh},
      {LinearActivation::kRelu, reference::relu},
      {LinearActivation::kSilu, reference::silu},
  };
  for (const auto& [activation, function] : activations) {
    LinearOptions options;
    options.bias = bias.data();
    options.activation = activation;
    const std::vector<float> y = apply(packed, x, kRows, options);
    options.accumulate = true;
    const std::vector<float> added = apply(packed, x, kRows, options, before);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double v = double{plain[i]} + bias[i % kOut];
      // erf's approximation is good to 1.5e-7, the others to a few ulp.
      const double bound = 4e-7 * (1 + std::fabs(v));
      ASSERT_NEAR(y[i], function(v), bound) << "activation " << static_cast<int>(activation);
      ASSERT_NEAR(added[i], function(v) + before[i], bound + 2e-7 * std::fabs(before[i]));
    }
  }
}

TEST_P(LinearTest, MultipliesValuesByTheirGate) {
  constexpr std::int64_t kIn = 20;
  constexpr std::int64_t kRows = 7;
  for (const std::int64_t width : {1, 5, 16, 17, 32, 45, 100}) {
    const std::vector<float> gate = random_numbers(width * kIn, 9);
    const std::vector<float> value = random_numbers(width * kIn, 10);
    std::vector<float> joined;
    for (std::int64_t row = 0; row < 2 * width; ++row) {
      const GatedRow from = gated_row(row, width);
      const auto begin = (from.is_gate ? gate : value).begin() + from.index * kIn;
      joined.insert(joined.end(), begin, begin + kIn);
    }
    const std::vector<float> x = random_numbers(kRows * kIn, 11);
    const std::vector<float> g = apply(pack(gate, width, kIn), x, kRows);
    const std::vector<float> v = apply(pack(value, width, kIn), x, kRows);
    LinearOptions options;
    options.gated = true;
    options.activation = LinearActivation::kSilu;
    const std::vector<float> y = apply(pack(joined, 2 * width, kIn), x, kRows, options);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double expected = reference::silu(g[i]) * v[i];
      ASSERT_NEAR(y[i], expected, 2e-6 * (1 + std::fabs(expected))) << width << " " << i;
    }
  }
}

TEST_P(LinearTest, KeepsWhatIsNotFiniteOrRefusesIt) {
  std::vector<float> w = random_numbers(4 * 3, 12);
  w[4] = std::numeric_limits<float>::infinity();
  const auto packed = PackedLinear::pack(context_, 4, 3, reader_of(w, 3), GetParam());
  if (GetParam().scheme == WeightScheme::kInt8 || GetParam().scheme == WeightScheme::kInt8Dynamic ||
      GetParam().scheme == WeightScheme::kInt4) {
    EXPECT_EQ(packed.status().code(), base::StatusCode::kInvalidArgument);
    EXPECT_THAT(packed.status().ToString(), testing::HasSubstr("row 1"));
    const PackedLinear fine = pack(random_numbers(4 * 3, 12), 4, 3);
    const std::vector<float> y = apply(fine, {1, std::numeric_limits<float>::quiet_NaN(), 2}, 1);
    EXPECT_TRUE(std::isnan(y[0]));
  } else {
    ASSERT_TRUE(packed.ok());
    EXPECT_TRUE(std::isinf(apply(*packed, {1, 1, 1}, 1)[1]));
  }
}

TEST_P(LinearTest, RefusesSizesThatCannotBe) {
  const std::vector<float> w(4);
  EXPECT_THAT(PackedLinear::pack(context_, 0, 4, reader_of(w, 4), GetParam()).status().ToString(),
              testing::HasSubstr("expected positive sizes, got [0, 4]"));
  EXPECT_FALSE(PackedLinear::pack(context_, 4, -1, reader_of(w, 1), GetParam()).ok());
}

INSTANTIATE_TEST_SUITE_P(
    Schemes, LinearTest,
    testing::Values(PackOptions{WeightScheme::kF32}, PackOptions{WeightScheme::kBF16},
                    PackOptions{WeightScheme::kF16}, PackOptions{WeightScheme::kInt8},
                    PackOptions{WeightScheme::kInt8Dynamic}, PackOptions{WeightScheme::kInt4, 32},
                    PackOptions{WeightScheme::kInt4, 64}, PackOptions{WeightScheme::kInt4, 128}),
    [](const auto& test) {
      std::string name(name_of(test.param.scheme));
      if (test.param.scheme == WeightScheme::kInt4) {
        name += "_groups_of_" + std::to_string(test.param.group_size);
      }
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(WeightSchemeTest, NamesReadBack) {
  for (const WeightScheme scheme :
       {WeightScheme::kF32, WeightScheme::kBF16, WeightScheme::kF16, WeightScheme::kInt8,
        WeightScheme::kInt8Dynamic, WeightScheme::kInt4}) {
    EXPECT_EQ(scheme_from_name(name_of(scheme)), scheme);
  }
  EXPECT_EQ(scheme_from_name("fp16"), WeightScheme::kF16);
  EXPECT_FALSE(scheme_from_name("fp4"));
}

}  // namespace
}  // namespace gamelan::kernels::cpu
