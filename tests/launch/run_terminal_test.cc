// On a terminal (a pty) the workers behave as any foreground program.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Launched::Options on_terminal() {
  Launched::Options options;
  options.on_terminal = true;
  return options;
}

TEST(RunTerminalTest, WorkersInheritTheTerminal) {
  Launched job(run_shell(2, "test -t 1 && test -t 2 && echo rank $RANK has a terminal"),
               on_terminal());
  EXPECT_EQ(job.wait(), 0);
  EXPECT_THAT(job.output(), HasSubstr("rank 0 has a terminal"));
  EXPECT_THAT(job.output(), HasSubstr("rank 1 has a terminal"));
}

TEST(RunTerminalTest, TheProgressBarOfRankZeroIsABar) {
  const std::vector<std::string> arguments{"run", "--standalone", "--nproc-per-node", "2",
                                           HELLO_RANKS_PROGRAM};
  Launched on_pty(arguments, on_terminal());
  EXPECT_EQ(on_pty.wait(), 0);
  EXPECT_GE(count_of(on_pty.output(), "\rgreeting"), 2) << on_pty.output();
  const Result redirected = run_gamelan(arguments);
  EXPECT_EQ(redirected.exit, 0);
  EXPECT_THAT(redirected.errors + redirected.output, Not(HasSubstr("\r")));
}

TEST(RunTerminalTest, RankZeroReadsTheKeyboard) {
  Launched job(run_shell(2, "test $RANK = 1 || { echo ask; read line; echo \"<$line>\"; }"),
               on_terminal());
  ASSERT_TRUE(job.output_has("ask"));
  job.type("gong\n");
  EXPECT_EQ(job.wait(), 0);
  EXPECT_THAT(job.output(), HasSubstr("<gong>"));
}

TEST(RunTerminalTest, ControlCReachesEveryWorkerOnce) {
  Launched job(run_shell(2,
                         "trap 'echo interrupted' INT; trap 'echo hurried' TERM; echo up; "
                         "while true; do sleep 0.01; done",
                         {"--shutdown-timeout", "0.3"}),
               on_terminal());
  ASSERT_TRUE(job.output_has("up\r\n", 2));
  job.type("\x03");
  EXPECT_EQ(job.wait(), 1);
  EXPECT_EQ(count_of(job.output(), "interrupted"), 2) << job.output();
  EXPECT_EQ(count_of(job.output(), "hurried"), 0);
}

TEST(RunTerminalTest, NothingSurvivesAClosedTerminal) {
  // The workers hold a pipe of the test's besides the terminal that goes away.
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  base::Fd alive(fds[0]);
  {
    base::Fd held(fds[1]);
    Launched job(run_shell(2, "setsid sleep 1000 & echo up; exec sleep 1000"), on_terminal());
    held.reset();
    ASSERT_TRUE(job.output_has("up\r\n", 2));
  }  // kills the guard and closes the terminal
  char byte = 0;
  EXPECT_EQ(read(alive.get(), &byte, 1), 0);
}

}  // namespace
}  // namespace gamelan::testing
