#include "dist/collective/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "dist/collective/operation.h"
#include "tests/dist/collective_values.h"

namespace gamelan::dist {
namespace {

/// One source: the value itself, converted there and back.
template <class T>
std::vector<std::uint16_t> sum_with_zero(const std::vector<std::uint16_t>& bits) {
  const std::vector<std::uint16_t> zeros(bits.size(), 0x8000);  // -0 changes nothing
  std::vector<std::uint16_t> out(bits.size());
  const std::byte* const sources[] = {reinterpret_cast<const std::byte*>(bits.data()),
                                      reinterpret_cast<const std::byte*>(zeros.data())};
  reduce_in_order(kDTypeOf<T>, ReduceOp::kSum, sources, reinterpret_cast<std::byte*>(out.data()),
                  bits.size());
  return out;
}

TEST(ReduceTest, EveryHalfPrecisionValueSurvives) {
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    bits[i] = static_cast<std::uint16_t>(i);
  }
  const auto f16 = sum_with_zero<tensor::Float16>(bits);
  const auto bf16 = sum_with_zero<tensor::BFloat16>(bits);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    if (std::isnan(tensor::to_float(tensor::Float16{bits[i]}))) {
      EXPECT_TRUE(std::isnan(tensor::to_float(tensor::Float16{f16[i]}))) << i;
    } else {
      EXPECT_EQ(f16[i], bits[i]) << i;
    }
    if (std::isnan(tensor::to_float(tensor::BFloat16{bits[i]}))) {
      EXPECT_TRUE(std::isnan(tensor::to_float(tensor::BFloat16{bf16[i]}))) << i;
    } else {
      EXPECT_EQ(bf16[i], bits[i]) << i;
    }
  }
}

TEST(ReduceTest, HalfPrecisionSumsAreRoundedOnceAsTheTensorLayerDoes) {
  // Every value with a few partners, so that ties, subnormals and overflow occur.
  for (const std::uint16_t partner :
       {0x0001, 0x03ff, 0x0400, 0x3c00, 0x3c01, 0x7bff, 0x8001, 0xbc01}) {
    std::vector<std::uint16_t> a(0x7c00);
    const std::vector<std::uint16_t> b(a.size(), partner);
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] = static_cast<std::uint16_t>(i);
    }
    const std::byte* const sources[] = {reinterpret_cast<const std::byte*>(a.data()),
                                        reinterpret_cast<const std::byte*>(b.data()),
                                        reinterpret_cast<const std::byte*>(b.data())};
    std::vector<std::uint16_t> out(a.size());
    for (const bool brain : {false, true}) {
      reduce_in_order(brain ? tensor::DType::kBF16 : tensor::DType::kF16, ReduceOp::kSum, sources,
                      reinterpret_cast<std::byte*>(out.data()), a.size());
      for (std::size_t i = 0; i < a.size(); ++i) {
        const auto widen = [brain](std::uint16_t bits) {
          return brain ? tensor::to_float(tensor::BFloat16{bits})
                       : tensor::to_float(tensor::Float16{bits});
        };
        const float sum = widen(a[i]) + widen(partner) + widen(partner);
        const std::uint16_t expected =
            brain ? tensor::to_bfloat16(sum).bits : tensor::to_float16(sum).bits;
        ASSERT_EQ(out[i], expected) << i << " + 2 * " << partner << (brain ? " bf16" : " f16");
      }
    }
  }
}

TEST(ReduceTest, NotANumberStaysInMinAndMax) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> a = {nan, 1, 2, -0.0F};
  const std::vector<float> b = {1, nan, 3, 5};
  const std::byte* const sources[] = {reinterpret_cast<const std::byte*>(a.data()),
                                      reinterpret_cast<const std::byte*>(b.data())};
  std::vector<float> out(4);
  reduce_in_order(tensor::DType::kF32, ReduceOp::kMin, sources,
                  reinterpret_cast<std::byte*>(out.data()), 4);
  EXPECT_TRUE(std::isnan(out[0]) && std::isnan(out[1]));
  EXPECT_EQ(out[2], 2);
  reduce_in_order(tensor::DType::kF32, ReduceOp::kMax, sources,
                  reinterpret_cast<std::byte*>(out.data()), 4);
  EXPECT_TRUE(std::isnan(out[0]) && std::isnan(out[1]));
  EXPECT_EQ(out[3], 5);
}

TEST(ReduceTest, IntegersWrapAndCompareWithSign) {
  const std::vector<std::int8_t> a = {127, -128, -1, 100};
  const std::vector<std::int8_t> b = {1, -1, 3, 3};
  const std::byte* const sources[] = {reinterpret_cast<const std::byte*>(a.data()),
                                      reinterpret_cast<const std::byte*>(b.data())};
  std::vector<std::int8_t> out(4);
  std::byte* const target = reinterpret_cast<std::byte*>(out.data());
  reduce_in_order(tensor::DType::kI8, ReduceOp::kSum, sources, target, 4);
  EXPECT_EQ(out, (std::vector<std::int8_t>{-128, 127, 2, 103}));
  reduce_in_order(tensor::DType::kI8, ReduceOp::kProduct, sources, target, 4);
  EXPECT_EQ(out, (std::vector<std::int8_t>{127, -128, -3, 44}));
  reduce_in_order(tensor::DType::kI8, ReduceOp::kMin, sources, target, 4);
  EXPECT_EQ(out, (std::vector<std::int8_t>{1, -128, -1, 3}));
  reduce_in_order(tensor::DType::kI8, ReduceOp::kMax, sources, target, 4);
  EXPECT_EQ(out, (std::vector<std::int8_t>{127, -1, 3, 100}));
}

TEST(PartTest, PartsCoverEverythingOnceAndBeginAtCacheLines) {
  for (const std::size_t element : {1, 2, 4, 8}) {
    for (const std::size_t count : {0, 1, 15, 16, 17, 1000, 65536}) {
      for (int ranks = 1; ranks <= 9; ++ranks) {
        std::size_t next = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          const Part part = part_of(count, element, ranks, rank);
          EXPECT_EQ(part.begin, next);
          EXPECT_TRUE(part.count == 0 || part.begin * element % 64 == 0);
          EXPECT_LE(part.count, part_of(count, element, ranks, 0).count);
          next += part.count;
        }
        EXPECT_EQ(next, count);
      }
    }
  }
}

}  // namespace
}  // namespace gamelan::dist
