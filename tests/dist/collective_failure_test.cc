// What happens when ranks disagree, are late, leave or die.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "dist/collective/process_group.h"
#include "tests/dist/collective_values.h"
#include "tests/support/ranks.h"

namespace gamelan::dist {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using testing::form_group_for_test;
using ::testing::HasSubstr;
using testing::Rank;
using testing::RankMode;
using testing::RankProcesses;
using testing::run_ranks;

using Bytes = std::vector<std::uint8_t>;

std::string text(const base::Status& status) {
  return std::string(base::message(status));
}

Work start(ProcessGroup& group, const std::string& operation, Bytes& data, Bytes& large) {
  const tensor::BufferView buffer = view<float>(data);
  const tensor::BufferView all{
      large.data(), buffer.count * static_cast<std::size_t>(group.size()), tensor::DType::kF32, {}};
  if (operation == "broadcast") {
    return group.broadcast(buffer);
  }
  if (operation == "all_reduce") {
    return group.all_reduce(buffer);
  }
  if (operation == "all_gather") {
    return group.all_gather(buffer, all);
  }
  if (operation == "reduce_scatter") {
    return group.reduce_scatter(all, buffer);
  }
  if (operation == "gather") {
    return group.gather(buffer, all);
  }
  return group.barrier();
}

// ---- disagreement ----

GAMELAN_RANK_BODY(disagree) {
  const int odd = rank.size - 1;
  const bool other = rank.rank == odd;
  std::uint64_t generation = 0;
  const auto expect = [&](const char* first, const char* second, auto&& call) {
    InitOptions options;
    options.timeout = std::chrono::seconds(30);
    options.generation = generation++;
    const auto group = form_group_for_test(rank, rank.argument, "test", options);
    // Nobody fails the group before every rank has returned from forming it.
    const std::string formed = fmt::format("formed/{}/", group->generation());
    ASSERT_TRUE(rank.store->set(formed + std::to_string(rank.rank), "").ok());
    for (int other = 0; other < rank.size; ++other) {
      ASSERT_TRUE(rank.store->wait({formed + std::to_string(other)}).ok());
    }
    Bytes data(400);
    Bytes all(400 * static_cast<std::size_t>(rank.size));
    const base::Status status = call(*group, data, all).wait();
    EXPECT_EQ(status.code(), base::StatusCode::kInvalidArgument);
    EXPECT_THAT(text(status), AllOf(HasSubstr(first), HasSubstr(second),
                                    HasSubstr("rank " + std::to_string(odd))));
    // The group stays broken.
    EXPECT_EQ(group->barrier().wait().code(), base::StatusCode::kInvalidArgument);
  };
  expect("all_reduce #0 (f32[100])", "barrier #0", [&](ProcessGroup& group, Bytes& data, Bytes&) {
    return other ? group.barrier() : group.all_reduce(view<float>(data));
  });
  expect("f32[100]", "f32[99]", [&](ProcessGroup& group, Bytes& data, Bytes&) {
    return group.all_reduce({data.data(), other ? 99U : 100U, tensor::DType::kF32, {}});
  });
  expect("(f32[100])", "(i32[100])", [&](ProcessGroup& group, Bytes& data, Bytes&) {
    return other ? group.all_reduce(view<std::int32_t>(data)) : group.all_reduce(view<float>(data));
  });
  expect("(f32[100])", "(f32[100], max)", [&](ProcessGroup& group, Bytes& data, Bytes&) {
    return group.all_reduce(view<float>(data), {{}, other ? ReduceOp::kMax : ReduceOp::kSum});
  });
  expect("root 0", "root 1", [&](ProcessGroup& group, Bytes& data, Bytes&) {
    return group.broadcast(view<float>(data), {{}, other ? 1 : 0});
  });
  expect("recv of f32[100] with tag 0", "it sent f32[10]",
         [&](ProcessGroup& group, Bytes& data, Bytes&) {
           if (rank.rank == 0) {
             return group.recv(view<float>(data), odd);
           }
           if (other) {
             EXPECT_TRUE(group.send({data.data(), 10, tensor::DType::kF32, {}}, 0).wait().ok());
           }
           return group.barrier();
         });
}

TEST(CollectiveFailureTest, DifferentCallsFailOnEveryRankAndNameBoth) {
  for (const std::string backend : {"cpu", "tcp"}) {
    run_ranks(RankMode::kThreads, 2, "disagree", backend);
    run_ranks(RankMode::kProcesses, 3, "disagree", backend);
  }
}

GAMELAN_RANK_BODY(wrong_arguments) {
  const auto group = form_group_for_test(rank, rank.argument);
  Bytes data(400);
  Bytes other(300);
  const auto refused = [](const Work& work) {
    EXPECT_TRUE(work.done());
    EXPECT_EQ(work.wait().code(), base::StatusCode::kInvalidArgument);
    return text(work.wait());
  };
  EXPECT_THAT(refused(group->all_gather(view<float>(data), view<float>(other))),
              HasSubstr("expected 200 elements in all, got 75"));
  EXPECT_THAT(refused(group->reduce_scatter(view<float>(data), view<std::int32_t>(other))),
              HasSubstr("different element types"));
  EXPECT_THAT(refused(group->broadcast(view<float>(data), {{}, 2})),
              HasSubstr("root 2 is not one of 2"));
  EXPECT_THAT(refused(group->send(view<float>(data), rank.rank)), HasSubstr("is not another one"));
  EXPECT_THAT(refused(group->recv(view<float>(data), -1)), HasSubstr("peer -1"));
  EXPECT_THAT(refused(group->send(view<float>(data), 1 - rank.rank, {{}, 1U << 31})),
              HasSubstr("tag"));
  EXPECT_THAT(refused(group->all_reduce(view<bool>(data), {{}, ReduceOp::kAvg})),
              HasSubstr("bool"));
  EXPECT_THAT(refused(group->all_reduce({nullptr, 3, tensor::DType::kF32, {}})),
              HasSubstr("no memory"));
  EXPECT_THAT(refused(group->reduce_scatter({data.data(), 20, tensor::DType::kF32, {}},
                                            {data.data() + 4, 10, tensor::DType::kF32, {}})),
              HasSubstr("overlap"));
  // Nothing was sent: the group goes on.
  EXPECT_TRUE(group->all_reduce(view<float>(data)).wait().ok());
}

TEST(CollectiveFailureTest, WrongArgumentsAreRefusedAndHarmNothing) {
  run_ranks(RankMode::kThreads, 2, "wrong_arguments", "cpu");
}

// ---- lateness ----

GAMELAN_RANK_BODY(one_is_late) {
  InitOptions options;
  options.timeout = std::chrono::seconds(30);
  const auto group = form_group_for_test(rank, rank.argument, "test", options);
  Bytes data(400);
  EXPECT_TRUE(group->barrier().wait().ok());
  const int late = rank.size - 1;
  if (rank.rank == late) {
    // Comes when the others have given up, and learns why from its next operation. Until then it is
    // in a receive.
    const base::Status status = group->recv(view<float>(data), 0, {{}, 7}).wait();
    EXPECT_EQ(status.code(), base::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(text(group->all_reduce(view<float>(data)).wait()),
                HasSubstr("all_reduce #1 (f32[100])"));
    return;
  }
  ReduceOptions reduce;
  reduce.timeout = milliseconds(300);
  const base::TimePoint begin = base::Clock::now();
  const base::Status status = group->all_reduce(view<float>(data), reduce).wait();
  EXPECT_GE(base::Clock::now() - begin, milliseconds(300));
  EXPECT_EQ(status.code(), base::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(text(status),
              AllOf(HasSubstr("all_reduce #1 (f32[100]) timed out after 300 ms"),
                    HasSubstr("rank " + std::to_string(late) + " (host "), HasSubstr("barrier #0"),
                    HasSubstr("waits in recv of f32[100] with tag 7 from rank 0")));
}

TEST(CollectiveFailureTest, DeadlineNamesWhoHasNotArrivedAndWhatItDoes) {
  for (const std::string backend : {"cpu", "tcp"}) {
    run_ranks(RankMode::kThreads, 2, "one_is_late", backend);
    run_ranks(RankMode::kProcesses, 3, "one_is_late", backend);
  }
}

GAMELAN_RANK_BODY(nobody_sends) {
  const auto group = form_group_for_test(rank, "cpu");
  Bytes data(400);
  PointToPointOptions options;
  options.tag = 5;
  options.timeout = milliseconds(rank.rank == 0 ? 200 : 20'000);
  const base::Status status = group->recv(view<float>(data), 1 - rank.rank, options).wait();
  EXPECT_EQ(status.code(), base::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(text(status), AllOf(HasSubstr("recv of f32[100] with tag 5 timed out: rank 1 (host"),
                                  HasSubstr("has not sent it")));
}

TEST(CollectiveFailureTest, DeadlineOfAMessageNamesThePeer) {
  run_ranks(RankMode::kThreads, 2, "nobody_sends");
}

// ---- abort and leaving ----

GAMELAN_RANK_BODY(aborted) {
  const auto group = form_group_for_test(rank, rank.argument);
  Bytes data(4'000'000);
  EXPECT_TRUE(group->all_reduce(view<float>(data)).wait().ok());
  // An abort ends operations that others are still in: it comes when all are past this one.
  EXPECT_TRUE(rank.store->set("past/" + std::to_string(rank.rank), "1").ok());
  if (rank.rank == 1) {
    EXPECT_TRUE(rank.store->wait({"past/0", "past/2"}).ok());
    // Waits in an operation that the others never call, while another thread aborts.
    std::thread aborter([&] { group->abort(base::internal("the loss is not a number")); });
    const base::Status status = group->all_reduce(view<float>(data)).wait();
    aborter.join();
    EXPECT_EQ(status.code(), base::StatusCode::kAborted);
    EXPECT_THAT(text(status), HasSubstr("the loss is not a number"));
    return;
  }
  std::vector<Work> works;
  works.push_back(group->recv(view<float>(data), 1));
  const base::Status status = works[0].wait();
  EXPECT_EQ(status.code(), base::StatusCode::kAborted);
  EXPECT_THAT(text(status), AllOf(HasSubstr("rank 1 (host"),
                                  HasSubstr("aborted the group: the loss is not a number")));
  EXPECT_EQ(group->barrier().wait().code(), base::StatusCode::kAborted);
}

TEST(CollectiveFailureTest, AbortEndsEverythingEverywhere) {
  for (const std::string backend : {"cpu", "tcp"}) {
    run_ranks(RankMode::kThreads, 3, "aborted", backend);
    run_ranks(RankMode::kProcesses, 3, "aborted", backend);
  }
}

GAMELAN_RANK_BODY(leaves) {
  const auto group = form_group_for_test(rank, rank.argument);
  Bytes data(400'000);
  EXPECT_TRUE(group->all_reduce(view<float>(data)).wait().ok());
  // Whoever misses the one that left fails the group, also for those still in this operation.
  EXPECT_TRUE(rank.store->set("past/" + std::to_string(rank.rank), "1").ok());
  for (int other = 0; other < rank.size; ++other) {
    EXPECT_TRUE(rank.store->wait({"past/" + std::to_string(other)}).ok());
  }
  if (rank.rank == 1) {
    group->close();
    group->close();
    group->join();
    EXPECT_EQ(group->barrier().wait().code(), base::StatusCode::kAborted);
    return;
  }
  const base::Status status = group->all_reduce(view<float>(data)).wait();
  EXPECT_EQ(status.code(), base::StatusCode::kUnavailable);
  EXPECT_THAT(text(status), AllOf(HasSubstr("all_reduce #1"), HasSubstr("rank 1 (host"),
                                  HasSubstr("has left the group")));
}

TEST(CollectiveFailureTest, WhoLeavesInOrderIsNamed) {
  for (const std::string backend : {"cpu", "tcp"}) {
    run_ranks(RankMode::kThreads, 2, "leaves", backend);
    run_ranks(RankMode::kProcesses, 3, "leaves", backend);
  }
}

// ---- death ----

/// Runs one operation again and again until it fails; reports when, and how.
GAMELAN_RANK_BODY(until_death) {
  const std::size_t colon = rank.argument.find(':');
  const std::string backend = rank.argument.substr(0, colon);
  const std::string operation = rank.argument.substr(colon + 1);
  const auto group = form_group_for_test(rank, backend);
  // Long enough that most of the time passes inside.
  Bytes data(2'000'000);
  Bytes large(data.size() * static_cast<std::size_t>(rank.size));
  const std::string own = std::to_string(rank.rank);
  for (int i = 0;; ++i) {
    const base::Status status = start(*group, operation, data, large).wait();
    if (i == 3) {
      ASSERT_TRUE(rank.store->set("running/" + own, "1").ok());
    }
    if (!status.ok()) {
      const auto now =
          std::chrono::duration_cast<milliseconds>(base::Clock::now().time_since_epoch());
      EXPECT_EQ(status.code(), base::StatusCode::kUnavailable) << base::message(status);
      ASSERT_TRUE(rank.store->set("text/" + own, base::message(status)).ok());
      ASSERT_TRUE(rank.store->set("ended/" + own, std::to_string(now.count())).ok());
      break;
    }
  }
  // The survivors go on in the same processes, as the next generation.
  InitOptions options;
  options.generation = 1;
  options.timeout = std::chrono::seconds(30);
  Rank survivor = rank;
  survivor.size = rank.size - 1;
  survivor.rank = rank.rank > 1 ? rank.rank - 1 : rank.rank;
  const auto next = form_group_for_test(survivor, backend, "test", options);
  EXPECT_EQ(next->generation(), 1U);
  Bytes sum = values<float>(survivor.rank, 1000);
  EXPECT_TRUE(next->all_reduce(view<float>(sum)).wait().ok());
  EXPECT_TRUE(sum == reduced<float>(survivor.size, 1000, ReduceOp::kSum));
}

/// How long after the death of rank 1 the slowest survivor failed, in milliseconds. Death is when
/// the parent can wait for the process: the kernel closes its sockets a moment earlier.
long kill_one(const std::string& backend, const std::string& operation) {
  SCOPED_TRACE(backend + ":" + operation);
  RankProcesses ranks(3, "until_death", backend + ":" + operation);
  EXPECT_TRUE(
      ranks.store().wait({"running/0", "running/1", "running/2"}, std::chrono::seconds(30)).ok());
  ranks.signal(1, SIGKILL);
  siginfo_t info{};
  EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(ranks.pid(1)), &info, WEXITED | WNOWAIT), 0);
  const auto died = std::chrono::duration_cast<milliseconds>(base::Clock::now().time_since_epoch());
  long slowest = 0;
  for (const int survivor : {0, 2}) {
    const std::string own = std::to_string(survivor);
    const auto ended = ranks.store().get("ended/" + own, std::chrono::seconds(10));
    const auto why = ranks.store().get("text/" + own, std::chrono::seconds(10));
    if (!ended.ok() || !why.ok()) {
      ADD_FAILURE() << "rank " << survivor << " has not noticed";
      return slowest;
    }
    EXPECT_THAT(*why,
                AllOf(HasSubstr(operation + " #"), HasSubstr("rank 1 (host"),
                      HasSubstr("pid " + std::to_string(ranks.pid(1))), HasSubstr("has exited")));
    slowest = std::max(slowest, std::atol(ended->c_str()) - static_cast<long>(died.count()));
  }
  for (const int survivor : {0, 2}) {
    EXPECT_EQ(ranks.wait(survivor).code, 0) << "survivor " << survivor;
  }
  EXPECT_EQ(ranks.wait(1).signal, SIGKILL);
  return slowest;
}

class DeathTest : public ::testing::TestWithParam<std::string> {};

TEST_P(DeathTest, EverySurvivorFailsWithin100MillisecondsAndCanGoOn) {
  for (const std::string operation :
       {"broadcast", "all_reduce", "all_gather", "reduce_scatter", "gather", "barrier"}) {
    EXPECT_LT(kill_one(GetParam(), operation), 100) << operation;
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, DeathTest, ::testing::Values("cpu", "tcp"),
                         [](const auto& info) { return info.param; });

GAMELAN_RANK_BODY(until_silence) {
  InitOptions options;
  options.timeout = std::chrono::seconds(30);
  options.heartbeat = milliseconds(50);
  options.silence_limit = milliseconds(500);
  const auto group = form_group_for_test(rank, "cpu", "test", options);
  EXPECT_TRUE(group->barrier().wait().ok());
  EXPECT_TRUE(rank.store->set("running/" + std::to_string(rank.rank), "1").ok());
  Bytes data(400);
  const base::Status status = group->recv(view<float>(data), 1 - rank.rank).wait();
  EXPECT_EQ(status.code(), base::StatusCode::kUnavailable);
  EXPECT_THAT(text(status), AllOf(HasSubstr("rank 1 (host"), HasSubstr("silent for 500 ms")));
}

TEST(CollectiveFailureTest, SilentPeerIsNoticedByItsHeartbeats) {
  RankProcesses ranks(2, "until_silence");
  ASSERT_TRUE(ranks.store().wait({"running/0", "running/1"}, std::chrono::seconds(30)).ok());
  ranks.signal(1, SIGSTOP);
  EXPECT_EQ(ranks.wait(0).code, 0);
}

}  // namespace
}  // namespace gamelan::dist
