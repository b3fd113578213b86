// Redirection, tee, filters and the folders of logs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>

#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kSpeak = "echo out$RANK; echo err$RANK >&2";

/// The one folder inside `folder`.
std::string only_entry(const std::string& folder) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    found.push_back(entry.path());
  }
  EXPECT_EQ(found.size(), 1u);
  return found.empty() ? "" : found.front();
}

TEST(RunLogsTest, RedirectsToFilesOnly) {
  const std::string folder = make_temporary_folder();
  const Result result = run_gamelan({"run", "--nproc-per-node", "2", "--rdzv-id", "suite",
                                     "--log-dir", folder, "-r", "3", "sh", "-c", kSpeak});
  ASSERT_EQ(result.exit, 0) << result.errors;
  EXPECT_EQ(result.output, "");
  EXPECT_THAT(result.errors, Not(HasSubstr("err0")));
  const std::string root = only_entry(folder);
  EXPECT_THAT(root, HasSubstr("/suite_"));
  EXPECT_EQ(read_file(root + "/attempt_0/0/stdout.log"), "out0\n");
  EXPECT_EQ(read_file(root + "/attempt_0/1/stderr.log"), "err1\n");
}

TEST(RunLogsTest, TeesWithAPrefix) {
  const std::string folder = make_temporary_folder();
  const Result result =
      run_gamelan(run_shell(2, "echo out$RANK; echo err$RANK >&2; printf unfinished",
                            {"--log-dir", folder, "--tee", "0:3,1:1", "--role", "saron"}));
  ASSERT_EQ(result.exit, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("[saron0]:out0\n"));
  EXPECT_THAT(result.output, HasSubstr("[saron1]:out1\n"));
  EXPECT_THAT(result.output, HasSubstr("[saron1]:unfinished\n"));
  EXPECT_THAT(result.errors, HasSubstr("[saron0]:err0\n"));
  EXPECT_THAT(result.errors, HasSubstr("err1\n"));
  EXPECT_THAT(result.errors, Not(HasSubstr("[saron1]:err1")));
  EXPECT_EQ(read_file(only_entry(folder) + "/attempt_0/0/stdout.log"), "out0\nunfinished");
}

TEST(RunLogsTest, ShowsOnlyTheRanksOfTheFilter) {
  const Result result = run_gamelan(run_shell(3, kSpeak, {"--local-ranks-filter", "1"}));
  EXPECT_EQ(result.exit, 0);
  EXPECT_EQ(result.output, "out1\n");
}

TEST(RunLogsTest, KeepsTheLogsOfEveryAttempt) {
  const std::string folder = make_temporary_folder();
  const Result result = run_gamelan(
      run_shell(1, "echo $TORCHELASTIC_RESTART_COUNT; test $TORCHELASTIC_RESTART_COUNT = 1",
                {"--log-dir", folder, "-r", "1", "--max-restarts", "1"}));
  ASSERT_EQ(result.exit, 0) << result.errors;
  const std::string root = only_entry(folder);
  EXPECT_EQ(read_file(root + "/attempt_0/0/stdout.log"), "0\n");
  EXPECT_EQ(read_file(root + "/attempt_1/0/stdout.log"), "1\n");
}

TEST(RunLogsTest, RemovesItsTemporaryFolder) {
  Launched::Options options;
  const std::string folder = make_temporary_folder();
  options.environment["TMPDIR"] = folder;
  EXPECT_EQ(run_gamelan(run_shell(2, "test -d ${TORCHELASTIC_ERROR_FILE%/*}"), options).exit, 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST(RunLogsTest, SaysWhichFolderCannotBeWritten) {
  const std::string file = make_temporary_folder() + "/file";
  fclose(fopen(file.c_str(), "w"));
  const Result result = run_gamelan(run_shell(1, "true", {"--log-dir", file + "/logs"}));
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("create the log folder " + file + "/logs"));
}

TEST(RunLogsTest, AConsoleThatNobodyReadsDoesNotHoldTheAgent) {
  // Far more than a pipe holds.
  Launched job(run_shell(1,
                         "echo up >&2; while true; do echo 0123456789012345678901234567890; done",
                         {"-t", "1", "-r", "0"}));
  ASSERT_TRUE(job.errors_have("up"));
  job.signal(SIGTERM);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(job.pid()), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(info.si_status, 1);
}

}  // namespace
}  // namespace gamelan::testing
