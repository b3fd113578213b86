#include "kernels/alibi.h"

#include <gtest/gtest.h>

#include <cmath>

namespace gamelan::kernels {
namespace {

TEST(AlibiTest, HasThePowersOfTheBaseForAPowerOfTwo) {
  const std::vector<float> slopes = alibi_slopes(8);
  ASSERT_EQ(slopes.size(), 8U);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_FLOAT_EQ(slopes[i], static_cast<float>(std::pow(2.0, -1.0 - static_cast<double>(i))));
  }
}

TEST(AlibiTest, AddsOddPowersForOtherNumbers) {
  // bloom-176b: 64 + 48 heads.
  const std::vector<float> slopes = alibi_slopes(112);
  ASSERT_EQ(slopes.size(), 112U);
  EXPECT_NEAR(slopes.front(), 0.9170F, 5e-5);
  EXPECT_NEAR(slopes.back(), 0.01632F, 5e-6);
  const std::vector<float> twelve = alibi_slopes(12);
  EXPECT_FLOAT_EQ(twelve[8], static_cast<float>(std::pow(2.0, -0.5)));
  EXPECT_FLOAT_EQ(twelve[9], static_cast<float>(std::pow(2.0, -1.5)));
}

TEST(AlibiTest, HasNoneForNoHeads) {
  EXPECT_TRUE(alibi_slopes(0).empty());
}

}  // namespace
}  // namespace gamelan::kernels
