// Four-bit weights: how far they are from the numbers that they stand for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/cpu/linear.h"
#include "kernels/cpu/packed_int4.h"

namespace gamelan::kernels::cpu {
namespace {

class Int4Test : public testing::Test {
 protected:
  base::StatusOr<PackedLinear> pack(const std::vector<float>& w, std::int64_t in,
                                    std::int64_t group) {
    return PackedLinear::pack(context_, static_cast<std::int64_t>(w.size()) / in, in,
                              [&](std::int64_t first, std::int64_t count, std::span<float> out) {
                                std::copy_n(w.begin() + first * in, count * in, out.begin());
                              },
                              {.scheme = WeightScheme::kInt4, .group_size = group});
  }
  /// Root of the mean square of the error, relative to that of the numbers.
  double error_of(const std::vector<float>& w, std::int64_t in, std::int64_t group) {
    const auto packed = pack(w, in, group);
    EXPECT_TRUE(packed.ok()) << packed.status();
    std::vector<float> row(static_cast<std::size_t>(in));
    double error = 0.0;
    double square = 0.0;
    for (std::int64_t n = 0; n < packed->out_features(); ++n) {
      packed->read_row(n, row);
      for (std::int64_t k = 0; k < in; ++k) {
        const double expected = w[static_cast<std::size_t>(n * in + k)];
        error += std::pow(row[static_cast<std::size_t>(k)] - expected, 2);
        square += expected * expected;
      }
    }
    return std::sqrt(error / square);
  }

  device::ThreadPool pool_{{.threads = 2, .spin = std::chrono::microseconds(20)}};
  device::Arena workspace_;
  Context context_{.threads = &pool_, .workspace = &workspace_};
};

TEST_F(Int4Test, NormalNumbersLoseSevenToNinePercent) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0.0F, 0.02F);
  std::vector<float> w(256 * 512);
  std::generate(w.begin(), w.end(), [&] { return normal(generator); });
  // An evenly spaced grid from -8 to 7 whose scale is the largest magnitude's loses 8.5, 9.4 and
  // 10.3 %.
  EXPECT_LT(error_of(w, 512, 32), 0.0745);
  EXPECT_LT(error_of(w, 512, 64), 0.082);
  EXPECT_LT(error_of(w, 512, 128), 0.0885);
}

TEST_F(Int4Test, ClipsAnOutlierWhenThatIsBetter) {
  // 31 numbers between -1 and 1, and one of 1.3: the nearest level of the scale that reaches it is
  // worse for the others.
  std::vector<float> w(32 * 64);
  std::mt19937 generator(2);
  std::uniform_real_distribution<float> even(-1.0F, 1.0F);
  std::generate(w.begin(), w.end(), [&] { return even(generator); });
  for (std::size_t i = 0; i < w.size(); i += 32) {
    w[i] = 1.3F;
  }
  EXPECT_LT(error_of(w, 32, 32), 0.085);
}

TEST_F(Int4Test, LevelsComeBackExactly) {
  // Scales that f16 holds, levels in every order; 40 inputs leave a part of a group.
  std::vector<float> w;
  for (int row = 0; row < 70; ++row) {
    for (int k = 0; k < 40; ++k) {
      const float scale = (k < 32 ? 0.5F : -0.25F);
      w.push_back(scale * kInt4Unit * kInt4Levels[static_cast<std::size_t>((row * 7 + k) % 16)]);
    }
  }
  // The last eight of a row do not reach the outermost level every time: its scale is then
  // another's, and only near.
  EXPECT_LT(error_of(w, 40, 32), 0.02);
}

TEST_F(Int4Test, ZerosStayZeroAndTinyNumbersDoNotBlowUp) {
  std::vector<float> w(64 * 2, 0.0F);
  w[64] = 1e-30F;
  const auto packed = pack(w, 64, 64);
  ASSERT_TRUE(packed.ok());
  std::vector<float> row(64);
  packed->read_row(0, row);
  EXPECT_THAT(row, testing::Each(0.0F));
  packed->read_row(1, row);
  EXPECT_THAT(row, testing::Each(0.0F));
}

TEST_F(Int4Test, TakesLittleMoreThanHalfAByte) {
  const auto packed = pack(std::vector<float>(64 * 256, 1.0F), 256, 32);
  ASSERT_TRUE(packed.ok());
  EXPECT_EQ(packed->size_bytes(), 64U * 256 * 9 / 16);
}

TEST_F(Int4Test, RefusesOtherGroupsAndNumbersBeyondItsScales) {
  std::vector<float> w(64, 1.0F);
  EXPECT_THAT(pack(w, 64, 48).status().ToString(),
              testing::HasSubstr("expected groups of 32, 64 or 128 inputs, got 48"));
  w[3] = 1e6F;
  EXPECT_THAT(pack(w, 64, 32).status().ToString(), testing::HasSubstr("row 0"));
}

}  // namespace
}  // namespace gamelan::kernels::cpu
