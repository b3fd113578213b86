// Signals to the launcher and to its workers; nothing may be left behind, whatever dies.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

/// A worker with a child in its own process group and another in a session of its own.
constexpr const char* kFamily =
    "sleep 1000 & setsid sleep 1000 & echo up; while true; do sleep 1000; done";

TEST(RunSignalsTest, NothingSurvivesAKilledGuard) {
  Launched job(run_shell(2, kFamily));
  ASSERT_TRUE(job.output_has("up", 2));
  job.signal(SIGKILL);
  EXPECT_TRUE(job.everything_is_gone(milliseconds(1000)));
}

TEST(RunSignalsTest, NothingSurvivesAKilledAgent) {
  Launched job(run_shell(2, kFamily));
  ASSERT_TRUE(job.output_has("up", 2));
  kill(job.agent_pid(), SIGKILL);
  EXPECT_TRUE(job.everything_is_gone(milliseconds(1000)));
  EXPECT_EQ(job.wait(), 1);
  EXPECT_THAT(job.errors(), HasSubstr("was killed by SIGKILL; its workers were killed"));
}

TEST(RunSignalsTest, NothingSurvivesAKilledAgentWhoseWorkersAreStopped) {
  Launched job(run_shell(2, "setsid sleep 1000 & echo up; kill -STOP $$"));
  ASSERT_TRUE(job.output_has("up", 2));
  job.signal(SIGKILL);
  EXPECT_TRUE(job.everything_is_gone(milliseconds(1000)));
}

TEST(RunSignalsTest, PassesTerminationOnAndWaitsForTheWorkers) {
  for (const int number : {SIGTERM, SIGINT, SIGQUIT, SIGHUP}) {
    Launched job(run_shell(2,
                           "trap 'echo saved; exit 0' TERM INT QUIT HUP; echo up; "
                           "while true; do sleep 0.01; done"));
    ASSERT_TRUE(job.output_has("up", 2));
    job.signal(number);
    EXPECT_EQ(job.wait(), 1);
    EXPECT_EQ(count_of(job.output(), "saved"), 2) << number;
  }
}

TEST(RunSignalsTest, KillsWorkersThatIgnoreTermination) {
  Launched job(run_shell(2, "trap '' TERM; echo up; while true; do sleep 1000; done",
                         {"--shutdown-timeout", "0.2"}));
  ASSERT_TRUE(job.output_has("up", 2));
  job.signal(SIGTERM);
  EXPECT_EQ(job.wait(), 1);
  EXPECT_THAT(job.errors(), HasSubstr("sending SIGKILL"));
}

TEST(RunSignalsTest, EndsStoppedWorkers) {
  Launched job(run_shell(2, "echo up; kill -STOP $$"));
  ASSERT_TRUE(job.output_has("up", 2));
  job.signal(SIGTERM);
  EXPECT_EQ(job.wait(), 1);
}

TEST(RunSignalsTest, AFailureEndsStoppedAndStubbornWorkers) {
  const Result result = run_gamelan(
      run_shell(3,
                "case $RANK in 0) kill -STOP $$;; 1) trap '' TERM; while true; do sleep "
                "1000; done;; 2) exit 6;; esac",
                {"--shutdown-timeout", "0.2"}));
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("root cause: rank 2"));
}

TEST(RunSignalsTest, ForwardsUserSignals) {
  Launched job(run_shell(2,
                         "trap 'echo one; exit 0' USR1; trap 'echo two' USR2; echo up; "
                         "while true; do sleep 0.01; done"));
  ASSERT_TRUE(job.output_has("up", 2));
  job.signal(SIGUSR2);
  ASSERT_TRUE(job.output_has("two", 2));
  job.signal(SIGUSR1);
  EXPECT_EQ(job.wait(), 0);
  EXPECT_EQ(count_of(job.output(), "one"), 2);
}

TEST(RunSignalsTest, ChosenSignalsEndTheJob) {
  Launched job(run_shell(1,
                         "trap 'echo bye; exit 0' USR1; echo up; while true; do sleep 0.01; done",
                         {"--signals-to-handle", "SIGUSR1"}));
  ASSERT_TRUE(job.output_has("up"));
  job.signal(SIGUSR1);
  EXPECT_EQ(job.wait(), 1);
  EXPECT_THAT(job.output(), HasSubstr("bye"));
}

TEST(RunSignalsTest, AnIgnoredHangupStaysIgnored) {
  Launched::Options options;
  options.ignore_hangup = true;
  options.input = "go\n";
  Launched job(run_shell(1, "echo up; kill -HUP $$; kill -HUP $PPID; read line; echo $line"),
               options);
  EXPECT_EQ(job.wait(), 0) << job.errors();
  EXPECT_THAT(job.output(), HasSubstr("go"));
}

TEST(RunSignalsTest, ATerminatedJobIsNotRestarted) {
  Launched job(run_shell(2, "echo up; exec sleep 1000", {"--max-restarts", "5"}));
  ASSERT_TRUE(job.output_has("up", 2));
  job.signal(SIGTERM);
  EXPECT_EQ(job.wait(), 1);
  EXPECT_EQ(count_of(job.output(), "up"), 2);
}

}  // namespace
}  // namespace gamelan::testing
