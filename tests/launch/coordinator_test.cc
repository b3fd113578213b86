#include "launch/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gamelan::launch {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

/// A coordinator and the clock it is told.
class CoordinatorTest : public ::testing::Test {
 protected:
  void make(int nnodes, int max_restarts = 0) {
    coordinator_.emplace(
        Coordinator::Options{.run_id = "suite",
                             .nnodes = nnodes,
                             .max_restarts = max_restarts,
                             .join_timeout = seconds(100),
                             .stop_timeout = seconds(40)},
        [](int attempt) -> base::StatusOr<Coordinator::Meeting> {
          return Coordinator::Meeting{"host", 1000 + attempt, "host:1"};
        },
        now_);
  }
  void join(int session, int node_rank, int nproc) {
    Join join;
    join.run_id = "suite";
    join.nnodes = nnodes_of_join_;
    join.node_rank = node_rank;
    join.nproc = nproc;
    join.host = "h" + std::to_string(session);
    receive(session, join);
  }
  void receive(int session, const Message& message) {
    coordinator_->receive(session, message, now_);
  }
  /// The messages of type T that went out since the last call, by session; others are dropped.
  template <class T>
  std::map<int, T> sent() {
    std::map<int, T> found;
    for (const auto& out : coordinator_->take_outgoing()) {
      if (const T* message = std::get_if<T>(&out.message)) {
        found[out.session] = *message;
      }
    }
    return found;
  }
  static Failed failed(int attempt, int rank) {
    Failure failure;
    failure.rank = rank;
    failure.exit_code = 1;
    return Failed{attempt, {failure}};
  }

  base::TimePoint now_ = base::Clock::now();
  int nnodes_of_join_ = 2;
  std::optional<Coordinator> coordinator_;
};

TEST_F(CoordinatorTest, RanksFollowFromTheNodesSizes) {
  make(2);
  join(7, 1, 4);
  EXPECT_TRUE(sent<Start>().empty());
  join(8, 0, 3);
  auto starts = sent<Start>();
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_EQ(starts[8].first_rank, 0);
  EXPECT_EQ(starts[7].first_rank, 3);
  EXPECT_EQ(starts[7].world_size, 7);
  EXPECT_EQ(starts[7].master_port, 1000);
}

TEST_F(CoordinatorTest, SucceedsWhenAllNodesHave) {
  make(2);
  join(1, 0, 1);
  join(2, 1, 1);
  receive(2, Succeeded{0});
  EXPECT_FALSE(coordinator_->finished());
  receive(1, Succeeded{0});
  EXPECT_TRUE(coordinator_->finished());
  EXPECT_EQ(sent<Finish>()[1].exit_code, 0);
}

TEST_F(CoordinatorTest, AFailureStopsAllAndRestartsWhenAllHaveStopped) {
  make(2, 1);
  join(1, 0, 1);
  join(2, 1, 1);
  sent<Start>();
  receive(2, failed(0, 1));
  EXPECT_EQ(sent<Stop>().size(), 2u);
  receive(2, Stopped{0});
  EXPECT_TRUE(sent<Start>().empty());
  receive(1, Stopped{0});
  auto starts = sent<Start>();
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_EQ(starts[1].attempt, 1);
  EXPECT_EQ(starts[1].master_port, 1001);
  // Late news of the first attempt change nothing.
  receive(1, failed(0, 0));
  receive(1, Succeeded{0});
  receive(2, Succeeded{1});
  EXPECT_FALSE(coordinator_->finished());
  receive(2, failed(1, 1));
  receive(1, Stopped{1});
  receive(2, Stopped{1});
  ASSERT_TRUE(coordinator_->finished());
  const auto finish = sent<Finish>();
  EXPECT_EQ(finish.at(1).exit_code, 1);
  ASSERT_EQ(finish.at(1).failures.size(), 1u);
  EXPECT_EQ(finish.at(1).failures[0].rank, 1);
}

TEST_F(CoordinatorTest, ALostNodeIsWaitedForWhileRestartsAreLeft) {
  make(2, 1);
  join(1, 0, 1);
  join(2, 1, 1);
  coordinator_->lose(2, "closed the connection", now_);
  EXPECT_EQ(sent<Stop>().size(), 1u);
  receive(1, Stopped{0});
  EXPECT_FALSE(coordinator_->finished());
  EXPECT_THAT(sent<Missing>()[1].nodes, HasSubstr("node 1 (1 of 2 are here)"));
  join(3, 1, 5);
  EXPECT_EQ(sent<Start>()[3].world_size, 6);
}

TEST_F(CoordinatorTest, ALostNodeEndsTheJobWithoutRestarts) {
  make(2);
  join(1, 0, 1);
  join(2, 1, 1);
  coordinator_->lose(2, "closed the connection", now_);
  receive(1, Stopped{0});
  EXPECT_EQ(sent<Finish>()[1].exit_code, 1);
}

TEST_F(CoordinatorTest, ANodeThatDoesNotStopIsGivenUp) {
  make(2, 5);
  join(1, 0, 1);
  join(2, 1, 1);
  receive(1, failed(0, 0));
  receive(1, Stopped{0});
  now_ += seconds(41);
  coordinator_->tick(now_);
  ASSERT_TRUE(coordinator_->finished());
  EXPECT_THAT(sent<Finish>()[1].headline, HasSubstr("did not stop"));
}

TEST_F(CoordinatorTest, TheDeadlineNamesTheMissing) {
  make(2);
  nnodes_of_join_ = 2;
  join(1, 1, 1);
  now_ += seconds(101);
  coordinator_->tick(now_);
  EXPECT_THAT(sent<Finish>()[1].headline, HasSubstr("after 100 s node 0 (1 of 2 are here)"));
}

TEST_F(CoordinatorTest, LateAgentsAreTurnedAway) {
  make(1);
  nnodes_of_join_ = 1;
  join(1, 0, 1);
  join(2, -1, 1);
  EXPECT_THAT(sent<Refused>()[2].reason, HasSubstr("already has all its 1 nodes"));
  receive(1, Succeeded{0});
  join(3, -1, 1);
  EXPECT_THAT(sent<Refused>()[3].reason, HasSubstr("run 'suite' is already finished"));
  Join old;
  old.version = 99;
  receive(4, old);
  EXPECT_THAT(sent<Refused>()[4].reason, HasSubstr("protocol version 1, got 99"));
}

TEST_F(CoordinatorTest, ALeavingNodeEndsTheJobWhateverRestartsAreLeft) {
  make(2, 9);
  join(1, 0, 1);
  join(2, 1, 1);
  receive(2, Leaving{15});
  EXPECT_EQ(sent<Stop>().size(), 2u);
  receive(1, Stopped{0});
  receive(2, Stopped{0});
  EXPECT_THAT(sent<Finish>()[1].headline, HasSubstr("received SIGTERM"));
}

}  // namespace
}  // namespace gamelan::launch
