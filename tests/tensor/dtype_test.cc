#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace gamelan::tensor {
namespace {

TEST(DTypeTest, NamesAndSizesAgreeWithTheCppTypes) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(name_of(dtype)), dtype);
    visit_dtype(dtype, [&](auto tag) {
      EXPECT_EQ(size_of(dtype), sizeof(typename decltype(tag)::type)) << name_of(dtype);
    });
  }
  EXPECT_EQ(dtype_from_name("f128"), std::nullopt);
}

TEST(DTypeTest, EveryFloat16RoundTripsThroughFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const Float16 value{static_cast<std::uint16_t>(bits)};
    const float wide = to_float(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(to_float(to_float16(wide))));
    } else {
      ASSERT_EQ(to_float16(wide).bits, value.bits) << bits;
    }
  }
}

TEST(DTypeTest, EveryBFloat16RoundTripsThroughFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const BFloat16 value{static_cast<std::uint16_t>(bits)};
    const float wide = to_float(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(to_float(to_bfloat16(wide))));
    } else {
      ASSERT_EQ(to_bfloat16(wide).bits, value.bits) << bits;
    }
  }
}

TEST(DTypeTest, RoundsToNearestEven) {
  // Halfway between two neighbours the even mantissa wins; just above, the upper one.
  EXPECT_EQ(to_float(to_bfloat16(1.0F + 0x1p-8F)), 1.0F);
  EXPECT_EQ(to_float(to_bfloat16(1.0F + 0x1.8p-7F)), 1.0F + 0x1p-6F);
  EXPECT_EQ(to_float(to_float16(1.0F + 0x1p-11F)), 1.0F);
  EXPECT_EQ(to_float(to_float16(1.0F + 0x1.8p-10F)), 1.0F + 0x1p-9F);
  EXPECT_EQ(to_float(to_float16(0x1p-25F)), 0.0F);
  EXPECT_EQ(to_float(to_float16(0x1.8p-25F)), 0x1p-24F);
  EXPECT_EQ(to_float(to_float16(65519.0F)), 65504.0F);
  EXPECT_EQ(to_float(to_float16(65520.0F)), std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace gamelan::tensor
