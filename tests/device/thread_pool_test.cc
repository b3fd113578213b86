#include "device/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <numeric>
#include <vector>

namespace gamelan::device {
namespace {

ThreadPool::Options options(int threads, int spin_us) {
  return {.threads = threads, .spin = std::chrono::microseconds(spin_us)};
}

class ThreadPoolTest : public testing::TestWithParam<std::pair<int, int>> {
 protected:
  ThreadPool pool_{options(GetParam().first, GetParam().second)};
};

TEST_P(ThreadPoolTest, RunsEachThreadOnceARound) {
  ASSERT_EQ(pool_.size(), GetParam().first);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(pool_.size()));
  constexpr int kRounds = 2000;
  for (int round = 0; round < kRounds; ++round) {
    // Plain increments: the rounds order them.
    pool_.run([&](int thread) { ++counts[static_cast<std::size_t>(thread)]; });
  }
  for (const std::int64_t count : counts) {
    EXPECT_EQ(count, kRounds);
  }
}

TEST_P(ThreadPoolTest, SplitsARangeAtMultiplesOfTheGrain) {
  for (const std::int64_t grain : {1, 3, 16}) {
    for (const std::int64_t count : {0, 1, 2, 5, 16, 17, 100}) {
      std::vector<int> covered(static_cast<std::size_t>(count));
      pool_.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
        EXPECT_LT(begin, end);
        EXPECT_EQ(begin % grain, 0);
        EXPECT_TRUE(end == count || end % grain == 0);
        EXPECT_LT(thread, pool_.size());
        for (std::int64_t i = begin; i < end; ++i) {
          ++covered[static_cast<std::size_t>(i)];
        }
      });
      EXPECT_EQ(covered, std::vector<int>(static_cast<std::size_t>(count), 1));
    }
  }
}

TEST_P(ThreadPoolTest, TakesPiecesOneAfterTheOther) {
  constexpr std::int64_t kCount = 1001;
  std::vector<int> covered(kCount);
  pool_.parallel_for_dynamic(kCount, 7, [&](std::int64_t begin, std::int64_t end, int) {
    EXPECT_LE(end - begin, std::max<std::int64_t>(7, pool_.size() == 1 ? kCount : 0));
    for (std::int64_t i = begin; i < end; ++i) {
      ++covered[static_cast<std::size_t>(i)];
    }
  });
  EXPECT_EQ(covered, std::vector<int>(kCount, 1));
}

// Threads that poll long, that sleep at once, and more of them than CPUs.
INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolTest,
                         testing::Values(std::pair(1, 0), std::pair(2, 200), std::pair(2, 0),
                                         std::pair(3, 50), std::pair(5, 0), std::pair(8, 20)));

TEST(ThreadPoolOptionsTest, TakesTheUsableCpusByDefault) {
  EXPECT_GE(ThreadPool({}).size(), 1);
  ThreadPool pinned({.threads = 2, .pin = true});
  std::atomic<int> sum{0};
  pinned.run([&](int thread) { sum += thread + 1; });
  EXPECT_EQ(sum, 3);
}

}  // namespace
}  // namespace gamelan::device
