#include "net/event_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace gamelan::net {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

class EventLoopTest : public ::testing::TestWithParam<int> {
 protected:
  static EventLoop::Options options() {
    return {.name = "test loop", .spin = std::chrono::microseconds(GetParam())};
  }
  /// Runs `task` on the loop and waits for it.
  static void run(EventLoop& loop, const EventLoop::Task& task) {
    std::promise<void> done;
    ASSERT_TRUE(loop.post([&] {
      task();
      done.set_value();
    }));
    done.get_future().wait();
  }
};

TEST_P(EventLoopTest, RunsTasksOfOneThreadInOrder) {
  EventLoop loop(options());
  std::vector<int> seen;
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(loop.post([&seen, &loop, i] {
      EXPECT_TRUE(loop.in_loop());
      seen.push_back(i);
    }));
  }
  run(loop, [&] { EXPECT_EQ(seen.size(), 100u); });
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_FALSE(loop.in_loop());
}

TEST_P(EventLoopTest, TimersRunInTheOrderOfTheirTimes) {
  EventLoop loop(options());
  std::promise<std::vector<int>> result;
  std::vector<int> seen;
  run(loop, [&] {
    const base::TimePoint now = base::Clock::now();
    loop.call_at(now + milliseconds(20), [&] { seen.push_back(20); });
    loop.call_at(now + milliseconds(10), [&] { seen.push_back(10); });
    const EventLoop::TimerId cancelled =
        loop.call_at(now + milliseconds(15), [&] { seen.push_back(15); });
    loop.call_at(now - milliseconds(5), [&] { seen.push_back(0); });
    loop.call_at(now + milliseconds(30), [&] { result.set_value(seen); });
    loop.cancel(cancelled);
    loop.cancel(cancelled);
    loop.cancel(12345);
  });
  EXPECT_THAT(result.get_future().get(), ElementsAre(0, 10, 20));
}

TEST_P(EventLoopTest, OfTwoExpiredTimersTheFirstMayStillCancelTheOther) {
  EventLoop loop(options());
  int ran = 0;
  EventLoop::TimerId one = 0;
  EventLoop::TimerId two = 0;
  std::promise<void> later;
  run(loop, [&] {
    const base::TimePoint now = base::Clock::now();
    const auto first_of_both = [&] {
      ++ran;
      loop.cancel(one);
      loop.cancel(two);
    };
    one = loop.call_at(now, first_of_both);
    two = loop.call_at(now, first_of_both);
    loop.call_at(now + milliseconds(5), [&] { later.set_value(); });
  });
  later.get_future().wait();
  EXPECT_EQ(ran, 1);
}

TEST_P(EventLoopTest, CloseRunsWhatWasPostedAndRefusesWhatComesLater) {
  int ran = 0;
  EventLoop loop(options());
  for (int i = 0; i < 50; ++i) {
    loop.post([&] { ++ran; });
  }
  loop.close();
  loop.close();
  EXPECT_FALSE(loop.post([&] { ++ran; }));
  loop.join();
  EXPECT_EQ(ran, 50);
}

TEST_P(EventLoopTest, TasksThatNeverRanAreDestroyed) {
  const auto token = std::make_shared<int>(1);
  {
    EventLoop loop(options());
    run(loop, [&] { loop.call_at(base::TimePoint::max(), [token] {}); });
    EXPECT_EQ(token.use_count(), 2);
  }
  EXPECT_EQ(token.use_count(), 1);
}

INSTANTIATE_TEST_SUITE_P(Spin, EventLoopTest, ::testing::Values(0, 50), [](const auto& info) {
  return info.param == 0 ? std::string("Sleeping") : std::string("Spinning");
});

}  // namespace
}  // namespace gamelan::net
