#include "device/cpu.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace gamelan::device {
namespace {

TEST(CpuTest, CountFollowsTheAffinityMask) {
  const std::vector<int> all = allowed_cpus();
  ASSERT_FALSE(all.empty());
  EXPECT_GE(usable_cpu_count(), 1);
  EXPECT_LE(usable_cpu_count(), static_cast<int>(all.size()));
  // The mask belongs to a thread: this one ends with it.
  std::thread([&all] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(all.back(), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(allowed_cpus(), std::vector<int>{all.back()});
    EXPECT_EQ(usable_cpu_count(), 1);
  }).join();
}

TEST(CpuTest, CgroupQuotaIsRoundedUpAndBadTextIsNoLimit) {
  EXPECT_EQ(parse_cgroup_cpu_max("max 100000\n"), 0);
  EXPECT_EQ(parse_cgroup_cpu_max("150000 100000\n"), 2);
  EXPECT_EQ(parse_cgroup_cpu_max("50000 100000\n"), 1);
  EXPECT_EQ(parse_cgroup_cpu_max("200000 100000"), 2);
  EXPECT_EQ(parse_cgroup_cpu_max(""), 0);
  EXPECT_EQ(parse_cgroup_cpu_max("7"), 0);
  EXPECT_EQ(parse_cgroup_cpu_max("-5 0"), 0);
}

TEST(CpuTest, FeaturesAreConsistent) {
  const CpuFeatures features = cpu_features();
  if (features.avx512f) {
    EXPECT_TRUE(features.avx2);
    EXPECT_NE(to_string(features).find("avx2 avx512f"), std::string::npos);
  }
  EXPECT_EQ(to_string(CpuFeatures{}), "");
}

}  // namespace
}  // namespace gamelan::device
