// `gamelan run` on one node: environment, success, failure, restarts.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <random>
#include <set>
#include <sstream>

#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::map<std::string, std::string> parse_environment(const std::string& text) {
  std::map<std::string, std::string> variables;
  std::stringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    variables[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
  }
  return variables;
}

TEST(RunTest, GivesEachWorkerTorchrunsEnvironment) {
  const std::string folder = make_temporary_folder();
  const Result result = run_gamelan(run_shell(3, "env > " + folder + "/$LOCAL_RANK",
                                              {"--max-restarts", "2", "--role", "player"}));
  ASSERT_EQ(result.exit, 0) << result.errors;
  std::set<std::string> ports;
  for (const char* rank : {"0", "1", "2"}) {
    auto variables = parse_environment(read_file(folder + "/" + rank));
    for (const char* name : {"RANK", "LOCAL_RANK", "ROLE_RANK"}) {
      EXPECT_EQ(variables[name], rank) << name;
    }
    for (const char* name : {"WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_WORLD_SIZE"}) {
      EXPECT_EQ(variables[name], "3") << name;
    }
    EXPECT_EQ(variables["GROUP_RANK"], "0");
    EXPECT_EQ(variables["GROUP_WORLD_SIZE"], "1");
    EXPECT_EQ(variables["ROLE_NAME"], "player");
    EXPECT_EQ(variables["MASTER_ADDR"], "127.0.0.1");
    EXPECT_EQ(variables["TORCHELASTIC_RESTART_COUNT"], "0");
    EXPECT_EQ(variables["TORCHELASTIC_MAX_RESTARTS"], "2");
    EXPECT_EQ(variables["TORCHELASTIC_USE_AGENT_STORE"], "False");
    EXPECT_EQ(variables["TORCHELASTIC_RUN_ID"].size(), 16u);
    EXPECT_THAT(variables["TORCHELASTIC_ERROR_FILE"],
                HasSubstr(std::string("/attempt_0/") + rank + "/error.json"));
    EXPECT_EQ(variables["TORCH_NCCL_ASYNC_ERROR_HANDLING"], "1");
    EXPECT_GE(std::stoi(variables["OMP_NUM_THREADS"]), 1);
    EXPECT_EQ(variables["GAMELAN_TOKEN"].size(), 64u);
    EXPECT_THAT(variables["GAMELAN_STORE"], HasSubstr("127.0.0.1:"));
    ports.insert(variables["MASTER_PORT"]);
  }
  EXPECT_EQ(ports.size(), 1u);
}

TEST(RunTest, KeepsWhatTheUserHasSet) {
  Launched::Options options;
  options.environment = {{"OMP_NUM_THREADS", "7"}, {"GAMELAN_TOKEN", "secret"}};
  const Result result =
      run_gamelan(run_shell(2, "echo omp $OMP_NUM_THREADS token $GAMELAN_TOKEN"), options);
  EXPECT_EQ(count_of(result.output, "omp 7 token secret"), 2);
}

TEST(RunTest, OnlyRankZeroReadsStandardInput) {
  Launched::Options options;
  options.input = "words\n";
  const Result result =
      run_gamelan(run_shell(2, "read line; echo rank $RANK read \"<$line>\"; true"), options);
  EXPECT_THAT(result.output, HasSubstr("rank 0 read <words>"));
  EXPECT_THAT(result.output, HasSubstr("rank 1 read <>"));
}

TEST(RunTest, NamesTheRootCauseWithItsErrorFile) {
  const Result result = run_gamelan(
      run_shell(2,
                "if [ $RANK = 1 ]; then printf '{\"message\": {\"message\": \"out of gongs\"}}' "
                "> $TORCHELASTIC_ERROR_FILE; exit 3; fi; exec sleep 1000"));
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("root cause: rank 1 (local rank 1, node 0 '"));
  EXPECT_THAT(result.errors, HasSubstr("exited with code 3"));
  EXPECT_THAT(result.errors, HasSubstr("out of gongs"));
  EXPECT_THAT(result.errors, Not(HasSubstr("other failures")));
}

TEST(RunTest, NamesTheSignalThatKilledAWorker) {
  const Result result =
      run_gamelan(run_shell(2, "if [ $RANK = 0 ]; then kill -SEGV $$; fi; exec sleep 1000"));
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("was killed by signal 11 (SIGSEGV)"));
}

TEST(RunTest, RestartsEveryWorkerOnAnotherPort) {
  const Result result = run_gamelan(
      run_shell(2,
                "echo attempt $TORCHELASTIC_RESTART_COUNT port=$MASTER_PORT; "
                "test $TORCHELASTIC_RESTART_COUNT = 2 || { test $RANK = 0 || exit 9; sleep 1000; }",
                {"--max-restarts", "3"}));
  EXPECT_EQ(result.exit, 0) << result.errors;
  std::set<std::string> ports;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const std::string head = "attempt " + std::to_string(attempt) + " port=";
    EXPECT_GE(count_of(result.output, head), 1) << attempt;
    const std::size_t at = result.output.find(head) + head.size();
    ports.insert(result.output.substr(at, result.output.find('\n', at) - at));
  }
  EXPECT_EQ(count_of(result.output, "attempt 2"), 2);
  EXPECT_EQ(ports.size(), 3u);
}

TEST(RunTest, FailsWhenTheRestartsAreUsedUp) {
  const Result result =
      run_gamelan(run_shell(2, "echo try; exit 5", {"--max-restarts", "2", "--rdzv-id", "x"}));
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("failed in attempt 3 of 3 (all 2 restarts used)"));
}

TEST(RunTest, AFailureIsNeverASuccessBecauseTheOthersSucceed) {
  const Result result = run_gamelan(run_shell(4, "test $RANK != 2"));
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("root cause: rank 2"));
}

TEST(RunTest, EndsWhatSuccessfulWorkersLeaveBehind) {
  Launched job(run_shell(1, "setsid sh -c 'echo up; exec sleep 1000' &"));
  EXPECT_EQ(job.wait(), 0);
  EXPECT_THAT(job.errors(), HasSubstr("that the workers left behind"));
}

TEST(RunTest, AWorkerMayCloseItsStreams) {
  EXPECT_EQ(run_gamelan(run_shell(2, "exec <&- >&- 2>&-; exit 0")).exit, 0);
  EXPECT_EQ(run_gamelan(run_shell(2, "exec <&- >&- 2>&-; exit 4")).exit, 1);
}

TEST(RunTest, StartsScriptsWithoutInterpreterLine) {
  const std::string folder = make_temporary_folder();
  const std::string script = folder + "/script";
  FILE* file = fopen(script.c_str(), "w");
  fputs("echo \"rank $RANK got $1\"\n", file);
  fclose(file);
  chmod(script.c_str(), 0755);
  const Result result = run_gamelan({"run", "--nproc-per-node=2", script, "--one"});
  EXPECT_EQ(result.exit, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("rank 0 got --one"));
  EXPECT_THAT(result.output, HasSubstr("rank 1 got --one"));
}

TEST(RunTest, SurvivesKillsOfRandomWorkersAtRandomMoments) {
  constexpr int kKills = 12;
  // Each worker says who it is and waits for the end of its life; the last attempt ends by itself.
  Launched job(run_shell(3,
                         "echo \"pid=$$ attempt=$TORCHELASTIC_RESTART_COUNT.\"; "
                         "test $TORCHELASTIC_RESTART_COUNT = 12 || exec sleep 1000",
                         {"--max-restarts", "12"}));
  std::mt19937 random(20261122);
  for (int attempt = 0; attempt < kKills; ++attempt) {
    const std::string mark = " attempt=" + std::to_string(attempt) + ".";
    // One, two or all three workers may be up when the kill comes.
    ASSERT_TRUE(job.output_has(mark, 1 + static_cast<int>(random() % 3))) << job.errors();
    std::vector<pid_t> pids;
    std::stringstream lines(job.output());
    for (std::string line; std::getline(lines, line);) {
      if (line.find(mark) != std::string::npos) {
        pids.push_back(std::atoi(line.c_str() + std::string("pid=").size()));
      }
    }
    kill(pids[random() % pids.size()], SIGKILL);
  }
  EXPECT_EQ(job.wait(), 0) << job.errors();
  EXPECT_EQ(count_of(job.output(), " attempt=12."), 3);
  EXPECT_EQ(count_of(job.errors(), "was killed by signal 9 (SIGKILL)"), kKills);
}

}  // namespace
}  // namespace gamelan::testing
