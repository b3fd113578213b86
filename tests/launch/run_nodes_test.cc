// Several agents on this host act as the nodes of one job.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <memory>

#include "launch/reserved_port.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

/// The command lines of one job's agents, which meet at a port of their own.
class Cluster {
 public:
  explicit Cluster(int nodes) : nodes_(nodes) {
    auto port = launch::reserve_port();
    EXPECT_TRUE(port.ok());
    port_ = *std::move(port);
  }

  std::vector<std::string> command(int node_rank, int nproc, const std::string& script,
                                   const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{
        "run",       "--nnodes", std::to_string(nodes_), "--rdzv-endpoint",    endpoint(),
        "--rdzv-id", "suite",    "--nproc-per-node",     std::to_string(nproc)};
    if (node_rank >= 0) {
      arguments.insert(arguments.end(), {"--node-rank", std::to_string(node_rank)});
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.insert(arguments.end(), {"sh", "-c", script});
    return arguments;
  }
  std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_.port); }

 private:
  int nodes_;
  launch::ReservedPort port_;
};

Launched::Options with_token(const std::string& token = "the job's secret") {
  Launched::Options options;
  options.environment["GAMELAN_TOKEN"] = token;
  return options;
}

constexpr const char* kPlace =
    "echo \"rank=$RANK/$WORLD_SIZE local=$LOCAL_RANK/$LOCAL_WORLD_SIZE group=$GROUP_RANK/"
    "$GROUP_WORLD_SIZE at=$MASTER_ADDR:$MASTER_PORT\"";

std::string meeting_of(const std::string& output) {
  const std::size_t at = output.find("at=");
  return output.substr(at, output.find('\n', at) - at);
}

TEST(RunNodesTest, NodesOfDifferentSizesMakeOneJob) {
  const Cluster cluster(3);
  // The last node comes first: the order of arrival does not matter when ranks are given.
  Launched two(cluster.command(2, 1, kPlace), with_token());
  Launched one(cluster.command(1, 3, kPlace), with_token());
  Launched zero(cluster.command(0, 2, kPlace), with_token());
  EXPECT_EQ(zero.wait(), 0) << zero.errors();
  EXPECT_EQ(one.wait(), 0) << one.errors();
  EXPECT_EQ(two.wait(), 0) << two.errors();
  EXPECT_THAT(zero.output(), HasSubstr("rank=0/6 local=0/2 group=0/3 "));
  EXPECT_THAT(zero.output(), HasSubstr("rank=1/6 local=1/2 group=0/3 "));
  EXPECT_THAT(one.output(), HasSubstr("rank=2/6 local=0/3 group=1/3 "));
  EXPECT_THAT(one.output(), HasSubstr("rank=4/6 local=2/3 group=1/3 "));
  EXPECT_THAT(two.output(), HasSubstr("rank=5/6 local=0/1 group=2/3 "));
  EXPECT_EQ(meeting_of(zero.output()), meeting_of(one.output()));
  EXPECT_EQ(meeting_of(zero.output()), meeting_of(two.output()));
}

TEST(RunNodesTest, WithoutRanksTheOneThatCanListenIsNodeZero) {
  const Cluster cluster(2);
  Launched first(cluster.command(-1, 1, kPlace), with_token());
  Launched second(cluster.command(-1, 1, kPlace), with_token());
  EXPECT_EQ(first.wait(), 0) << first.errors();
  EXPECT_EQ(second.wait(), 0) << second.errors();
  const std::string both = first.output() + second.output();
  EXPECT_THAT(both, HasSubstr("rank=0/2"));
  EXPECT_THAT(both, HasSubstr("rank=1/2"));
}

TEST(RunNodesTest, AFailureOnAnyNodeRestartsAllOfThem) {
  const Cluster cluster(2);
  const std::string script =
      "echo attempt $TORCHELASTIC_RESTART_COUNT; test $TORCHELASTIC_RESTART_COUNT = 1 && exit 0; "
      "test $RANK = 2 && exit 8; exec sleep 1000";
  Launched zero(cluster.command(0, 1, script, {"--max-restarts", "1"}), with_token());
  Launched one(cluster.command(1, 2, script, {"--max-restarts", "1"}), with_token());
  EXPECT_EQ(zero.wait(), 0) << zero.errors();
  EXPECT_EQ(one.wait(), 0) << one.errors();
  EXPECT_THAT(zero.errors(), HasSubstr("rank 2 (local rank 1, node 1 '"));
  EXPECT_EQ(count_of(zero.output(), "attempt 1"), 1);
  EXPECT_EQ(count_of(one.output(), "attempt 1"), 2);
}

TEST(RunNodesTest, EveryNodeNamesTheRootCause) {
  const Cluster cluster(2);
  const std::string script = "test $RANK = 1 && exit 8; exec sleep 1000";
  Launched zero(cluster.command(0, 1, script), with_token());
  Launched one(cluster.command(1, 1, script), with_token());
  EXPECT_EQ(zero.wait(), 1);
  EXPECT_EQ(one.wait(), 1);
  for (const Launched* node : {&zero, &one}) {
    EXPECT_THAT(node->errors(), HasSubstr("root cause: rank 1 (local rank 0, node 1 '"));
    EXPECT_THAT(node->errors(), HasSubstr("exited with code 8"));
  }
}

TEST(RunNodesTest, ANodeThatIsDoneWaitsForTheOthersAndIsRestartedWithThem) {
  const Cluster cluster(2);
  const std::string folder = make_temporary_folder();
  const std::string gate = folder + "/gate";
  ASSERT_EQ(mkfifo(gate.c_str(), 0600), 0);
  // Node 1 ends well at once; node 0 fails after the test has opened the gate, and succeeds the
  // second time.
  const std::string zero_script =
      "test $TORCHELASTIC_RESTART_COUNT = 1 && exit 0; read line < " + gate + "; exit 1";
  Launched zero(cluster.command(0, 1, zero_script, {"--max-restarts", "1"}), with_token());
  Launched one(
      cluster.command(1, 1, "echo done $TORCHELASTIC_RESTART_COUNT", {"--max-restarts", "1"}),
      with_token());
  ASSERT_TRUE(one.output_has("done 0"));
  FILE* opener = fopen(gate.c_str(), "w");
  fputs("go\n", opener);
  fclose(opener);
  EXPECT_EQ(zero.wait(), 0) << zero.errors();
  EXPECT_EQ(one.wait(), 0) << one.errors();
  EXPECT_THAT(one.output(), HasSubstr("done 1"));
}

TEST(RunNodesTest, AKilledAgentEndsTheJobOnTheOthersAtOnce) {
  const Cluster cluster(2);
  Launched zero(cluster.command(0, 1, "echo up; exec sleep 1000"), with_token());
  Launched one(cluster.command(1, 1, "echo up; exec sleep 1000"), with_token());
  ASSERT_TRUE(zero.output_has("up"));
  ASSERT_TRUE(one.output_has("up"));
  one.signal(SIGKILL);
  EXPECT_TRUE(one.everything_is_gone(milliseconds(1000)));
  EXPECT_TRUE(zero.everything_is_gone(milliseconds(2000)));
  EXPECT_EQ(zero.wait(), 1);
  EXPECT_THAT(zero.errors(), HasSubstr("root cause: node 1 '"));
  EXPECT_THAT(zero.errors(), HasSubstr("closed the connection"));
}

TEST(RunNodesTest, AReplacementOfAKilledAgentJoinsTheNextAttempt) {
  const Cluster cluster(2);
  const std::string script =
      "echo attempt $TORCHELASTIC_RESTART_COUNT; test $TORCHELASTIC_RESTART_COUNT = 1 || exec "
      "sleep 1000";
  Launched zero(cluster.command(0, 1, script, {"--max-restarts", "1"}), with_token());
  Launched one(cluster.command(1, 1, script, {"--max-restarts", "1"}), with_token());
  ASSERT_TRUE(zero.output_has("attempt 0"));
  ASSERT_TRUE(one.output_has("attempt 0"));
  one.signal(SIGKILL);
  ASSERT_TRUE(zero.errors_have("closed the connection"));
  // A bigger machine takes its place.
  Launched again(cluster.command(1, 3, script, {"--max-restarts", "1"}), with_token());
  EXPECT_EQ(zero.wait(), 0) << zero.errors();
  EXPECT_EQ(again.wait(), 0) << again.errors();
  EXPECT_EQ(count_of(again.output(), "attempt 1"), 3);
}

TEST(RunNodesTest, WithoutNodeZeroTheJobIsOver) {
  const Cluster cluster(2);
  Launched zero(cluster.command(0, 1, "echo up; exec sleep 1000"), with_token());
  Launched one(cluster.command(1, 1, "echo up; exec sleep 1000"), with_token());
  ASSERT_TRUE(zero.output_has("up"));
  ASSERT_TRUE(one.output_has("up"));
  zero.signal(SIGKILL);
  EXPECT_TRUE(one.everything_is_gone(milliseconds(2000)));
  EXPECT_EQ(one.wait(), 1);
  EXPECT_THAT(one.errors(), HasSubstr("whose agent runs the job, closed the connection"));
}

TEST(RunNodesTest, ASignalToOneAgentEndsAllNodes) {
  const Cluster cluster(2);
  const std::string script =
      "trap 'echo saved; exit 0' TERM; echo up; while true; do sleep 0.01; done";
  Launched zero(cluster.command(0, 1, script), with_token());
  Launched one(cluster.command(1, 1, script), with_token());
  ASSERT_TRUE(zero.output_has("up"));
  ASSERT_TRUE(one.output_has("up"));
  one.signal(SIGTERM);
  EXPECT_EQ(zero.wait(), 1);
  EXPECT_EQ(one.wait(), 1);
  EXPECT_THAT(zero.output(), HasSubstr("saved"));
  EXPECT_THAT(zero.errors(), HasSubstr("received SIGTERM"));
}

TEST(RunNodesTest, AMissingNodeIsNamedAtTheDeadlineOnAllThatAreThere) {
  const Cluster cluster(3);
  const std::vector<std::string> soon{"--rdzv-conf", "join_timeout=1"};
  Launched zero(cluster.command(0, 1, "true", soon), with_token());
  Launched one(cluster.command(1, 1, "true", soon), with_token());
  EXPECT_EQ(zero.wait(), 1);
  EXPECT_THAT(zero.errors(), HasSubstr("after 1 s node 2 (2 of 3 are here) still missing"));
  EXPECT_EQ(one.wait(), 1);
  EXPECT_THAT(one.errors(), HasSubstr("after 1 s node 2 (2 of 3 are here) still missing"));
}

TEST(RunNodesTest, AMissingNodeZeroIsNamedAtTheDeadline) {
  const Cluster cluster(2);
  const Result result =
      run_gamelan(cluster.command(1, 1, "true", {"--rdzv-timeout", "0.5"}), with_token());
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("node 0 is missing, nobody has answered at"));
}

TEST(RunNodesTest, WhileNodesWaitTheySayForWhom) {
  const Cluster cluster(2);
  Launched zero(cluster.command(0, 1, "true"), with_token());
  EXPECT_TRUE(zero.errors_have("waiting for node 1 (1 of 2 are here)"));
  Launched one(cluster.command(1, 1, "true"), with_token());
  EXPECT_EQ(zero.wait(), 0);
  EXPECT_EQ(one.wait(), 0);
}

TEST(RunNodesTest, ForeignAgentsAreRefusedWithAReason) {
  const Cluster cluster(2);
  Launched zero(cluster.command(0, 1, "true"), with_token());
  ASSERT_TRUE(zero.errors_have("joined job"));
  const auto refusal = [&](std::vector<std::string> arguments, const std::string& token) {
    const Result result = run_gamelan(arguments, with_token(token));
    EXPECT_EQ(result.exit, 1);
    return result.errors;
  };
  const std::string token = "the job's secret";
  EXPECT_THAT(refusal(cluster.command(1, 1, "true"), "another secret"), HasSubstr("token"));
  EXPECT_THAT(refusal(cluster.command(1, 1, "true", {"--rdzv-id", "other"}), token),
              HasSubstr("expected --rdzv-id 'suite', got 'other'"));
  EXPECT_THAT(refusal(cluster.command(1, 1, "true", {"--nnodes", "3"}), token),
              HasSubstr("expected --nnodes 2 as on node 0, got 3"));
  Launched one(cluster.command(1, 1, "true"), with_token());
  EXPECT_EQ(zero.wait(), 0) << zero.errors();
  EXPECT_EQ(one.wait(), 0) << one.errors();
}

TEST(RunNodesTest, ATakenRankIsRefused) {
  const Cluster cluster(3);
  Launched zero(cluster.command(0, 1, "true"), with_token());
  Launched one(cluster.command(1, 1, "true"), with_token());
  ASSERT_TRUE(one.errors_have("joined job"));
  const Result twin = run_gamelan(cluster.command(1, 1, "true"), with_token());
  EXPECT_EQ(twin.exit, 1);
  EXPECT_THAT(twin.errors, HasSubstr("--node-rank 1 is taken by host '"));
  zero.signal(SIGTERM);
  EXPECT_EQ(zero.wait(), 1);
  EXPECT_EQ(one.wait(), 1);
}

TEST(RunNodesTest, APortInUseIsSaid) {
  const Cluster cluster(2);
  Launched first(cluster.command(0, 1, "true"), with_token());
  ASSERT_TRUE(first.errors_have("joined job"));
  const Result second = run_gamelan(cluster.command(0, 1, "true"), with_token());
  EXPECT_EQ(second.exit, 1);
  EXPECT_THAT(second.errors, HasSubstr("node 0 listens at --rdzv-endpoint " + cluster.endpoint()));
  EXPECT_THAT(second.errors, HasSubstr("in use"));
}

TEST(RunNodesTest, NodeZeroMayBeBehindANameThatIsNoAddressOfIts) {
  const Cluster cluster(2);
  auto command = cluster.command(0, 1, "echo store=$GAMELAN_STORE");
  // An address that no host has (RFC 5737): node 0 listens at that port on all of its own.
  command[4] = "192.0.2.1" + cluster.endpoint().substr(cluster.endpoint().find(':'));
  Launched zero(command, with_token());
  Launched one(cluster.command(1, 1, "echo store=$GAMELAN_STORE"), with_token());
  EXPECT_EQ(zero.wait(), 0) << zero.errors();
  EXPECT_EQ(one.wait(), 0) << one.errors();
  EXPECT_THAT(one.output(), HasSubstr("store=127.0.0.1:"));
}

TEST(RunNodesTest, NoTokenMustBeSaid) {
  const Cluster cluster(2);
  const Result refused = run_gamelan(cluster.command(0, 1, "true"));
  EXPECT_EQ(refused.exit, 2);
  EXPECT_THAT(refused.errors, HasSubstr("GAMELAN_TOKEN"));
  EXPECT_THAT(refused.errors, HasSubstr("--no-token"));
  Launched zero(cluster.command(0, 1, "true", {"--no-token"}));
  Launched one(cluster.command(1, 1, "true", {"--no-token"}));
  EXPECT_EQ(zero.wait(), 0) << zero.errors();
  EXPECT_EQ(one.wait(), 0) << one.errors();
}

}  // namespace
}  // namespace gamelan::testing
