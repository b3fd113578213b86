#include "kernels/cpu/isa.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace gamelan::kernels::cpu {
namespace {

/// Says at which level this program's tests run. None runs where GAMELAN_CPU_ISA asks for a level
/// that cannot be had: it would pass on what another one computes.
class LevelOfTheRun : public testing::Environment {
 public:
  void SetUp() override {
    const IsaChoice& choice = isa_choice();
    fmt::print("Kernels run at {}.\n", name_of(choice.level));
    if (!choice.warning.empty()) {
      fmt::print("Kernels are skipped. {}\n", choice.warning);
      GTEST_SKIP() << choice.warning;
    }
  }
};

[[maybe_unused]] const testing::Environment* const kLevelOfTheRun =
    testing::AddGlobalTestEnvironment(new LevelOfTheRun);

TEST(Isa, NamesGoThereAndBack) {
  for (const IsaLevel level : {IsaLevel::kScalar, IsaLevel::kAvx2, IsaLevel::kAvx512,
                               IsaLevel::kAvx512Vnni, IsaLevel::kAvx512Bf16, IsaLevel::kAmx}) {
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
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAvx512);
  features.avx512_bf16 = false;
  features.avx512_vnni = true;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAvx512Vnni);
  features.avx512_bf16 = true;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAvx512Bf16);
  features.amx_int8 = true;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAmx);
  features.amx_bf16 = false;
  EXPECT_EQ(isa_level_of(features), IsaLevel::kAvx512Bf16);
}

TEST(Isa, TheVariableLowersTheLevelOrEarnsAWarning) {
  for (const char* const unset : {static_cast<const char*>(nullptr), ""}) {
    const IsaChoice choice = choose_isa(unset, IsaLevel::kAvx512);
    EXPECT_EQ(choice.level, IsaLevel::kAvx512);
    EXPECT_FALSE(choice.forced);
    EXPECT_EQ(choice.warning, "");
  }
  for (const char* const level : {"scalar", "avx2", "avx512"}) {
    const IsaChoice choice = choose_isa(level, IsaLevel::kAvx512);
    EXPECT_EQ(name_of(choice.level), level);
    EXPECT_TRUE(choice.forced);
    EXPECT_EQ(choice.warning, "");
  }
  const IsaChoice higher = choose_isa("amx", IsaLevel::kAvx512);
  EXPECT_EQ(higher.level, IsaLevel::kAvx512);
  EXPECT_FALSE(higher.forced);
  EXPECT_EQ(higher.warning,
            "GAMELAN_CPU_ISA: this machine offers avx512 at most, got 'amx'; using avx512");
  const IsaChoice misspelt = choose_isa("AVX2", IsaLevel::kAvx512);
  EXPECT_EQ(misspelt.level, IsaLevel::kAvx512);
  EXPECT_FALSE(misspelt.forced);
  EXPECT_EQ(misspelt.warning,
            "GAMELAN_CPU_ISA: expected one of scalar, avx2, avx512, avx512_vnni, avx512_bf16, amx, "
            "got 'AVX2'; using avx512");
}

TEST(Isa, LevelIsNotAboveTheCpus) {
  EXPECT_LE(isa_level(), isa_level_of(device::cpu_features()));
}

}  // namespace
}  // namespace gamelan::kernels::cpu
