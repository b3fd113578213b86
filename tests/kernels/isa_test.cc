#include "kernels/cpu/isa.h"

#include <gtest/gtest.h>

namespace gamelan::kernels::cpu {
namespace {

TEST(Isa, NamesGoThereAndBack) {
  for (const IsaLevel level : {IsaLevel::kScalar, IsaLevel::kAvx2, IsaLevel::kAvx512,
                               IsaLevel::kAvx512Bf16, IsaLevel::kAmx}) {
    EXPECT_EQ(isa_from_name(name_of(level)), level);
  }
  EXPECT_EQ(isa_from_name("avx1024"), std::nullopt);
  EXPECT_EQ(isa_from_name(""), std::nullopt);
}

TEST(Isa, LevelIsTheHighestWithoutAGapBelow) {
  device::CpuFeatures features;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kScalar);
  features.amx_bf16 = true;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kScalar);
  features.avx2 = true;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAvx2);
  features.avx512f = true;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAvx512);
  features.avx512_bf16 = true;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAvx512Bf16);
  features.amx_int8 = true;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAmx);
  features.amx_bf16 = false;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAvx512Bf16);
}

TEST(Isa, LevelIsNotAboveTheCpus) {
  EXPECT_LE(isa_level(), isa_level_of(device::cpu_features()));
}

}  // namespace
}  // namespace gamelan::kernels::cpu
