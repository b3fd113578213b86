// Wrong usage exits with 2 and says what was expected; help opens with an example.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct WrongUsage {
  std::vector<std::string> arguments;
  std::string message;
};

TEST(CommandLineTest, WrongUsageExitsWithTwo) {
  const std::vector<WrongUsage> cases{
      {{}, "Usage: gamelan VERB"},
      {{"rum"}, "unknown verb 'rum'; did you mean 'run'?"},
      {{"run"}, "expected a program to run"},
      {{"run", "--nproc-per-nod", "2", "true"}, "did you mean --nproc-per-node?"},
      {{"run", "--completely-different", "true"}, "unknown option --completely-different"},
      {{"run", "--nproc-per-node", "many", "true"},
       "--nproc-per-node: expected a number from 1 to 4096, cpu, gpu or auto, got 'many'"},
      {{"run", "--nproc-per-node", "0", "true"}, "got '0'"},
      {{"run", "--nnodes", "1:4", "true"}, "MIN:MAX"},
      {{"run", "--nnodes", "2", "--no-token", "true"}, "needs --rdzv-endpoint"},
      {{"run", "--nnodes", "2", "--no-token", "--rdzv-endpoint", ":77", "true"},
       "expected host:port"},
      {{"run", "--nnodes", "2", "--no-token", "--node-rank", "2", "--rdzv-endpoint", "h:1", "true"},
       "--node-rank must be smaller than --nnodes 2, got 2"},
      {{"run", "--standalone", "--nnodes", "2", "true"}, "--standalone means one node"},
      {{"run", "--rdzv-conf", "join=4", "true"}, "unknown key 'join'"},
      {{"run", "--rdzv-conf", "join_timeout=soon", "true"}, "got 'join_timeout=soon'"},
      {{"run", "--rdzv-backend", "etcd", "true"}, "expected static or c10d, got 'etcd'"},
      {{"run", "-r", "4", "true"}, "--redirects: expected 0 (none)"},
      {{"run", "-t", "0:1,x", "true"}, "--tee: expected local_rank:streams"},
      {{"run", "--signals-to-handle", "SIGKILL", "true"}, "got 'KILL'"},
      {{"run", "--max-restarts", "-1", "true"}, "--max-restarts"},
      {{"run", "--token-file", "/nonexistent", "true"}, "/nonexistent"},
      {{"run", "no-such-program-anywhere"}, "'no-such-program-anywhere' is not in PATH"},
      {{"run", "./no-such-file"}, "no such file"},
      {{"run", "/etc/passwd"}, "is not executable"},
      {{"doctor", "--jsn"}, "did you mean --json?"},
  };
  for (const WrongUsage& wrong : cases) {
    const Result result = run_gamelan(wrong.arguments);
    EXPECT_EQ(result.exit, 2) << wrong.message;
    EXPECT_THAT(result.errors, HasSubstr(wrong.message));
    EXPECT_EQ(result.output, "") << wrong.message;
  }
}

TEST(CommandLineTest, HelpOpensWithAnExample) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"run", "--help"}, {"doctor", "--help"}}) {
    const Result result = run_gamelan(arguments);
    EXPECT_EQ(result.exit, 0);
    EXPECT_THAT(result.output, StartsWith("Example:\n  gamelan "));
  }
}

TEST(CommandLineTest, UnderscoresMeanDashes) {
  const Result result = run_gamelan({"run", "--nproc_per_node=2", "--max_restarts", "0", "sh", "-c",
                                     "echo $0 $1", "--keep_this"});
  EXPECT_EQ(result.exit, 0) << result.errors;
  EXPECT_EQ(count_of(result.output, "--keep_this\n"), 2);
}

TEST(CommandLineTest, TheEnvironmentGivesOptionsAndTheCommandLineWins) {
  Launched::Options options;
  options.environment = {{"PET_NPROC_PER_NODE", "3"}, {"PET_MAX_RESTARTS", "4"}};
  const Result taken =
      run_gamelan({"run", "sh", "-c", "echo $WORLD_SIZE $TORCHELASTIC_MAX_RESTARTS"}, options);
  EXPECT_EQ(count_of(taken.output, "3 4\n"), 3) << taken.errors;
  const Result overridden =
      run_gamelan({"run", "--nproc-per-node", "1", "sh", "-c", "echo $WORLD_SIZE"}, options);
  EXPECT_EQ(overridden.output, "1\n");
}

TEST(CommandLineTest, ADoubleDashEndsTheOptions) {
  const Result result = run_gamelan({"run", "--", "sh", "-c", "echo yes"});
  EXPECT_EQ(result.output, "yes\n") << result.errors;
}

TEST(CommandLineTest, AMissingProgramInTheFolderIsHintedAt) {
  Launched::Options options;
  const std::string folder = make_temporary_folder();
  std::ofstream(folder + "/mine") << "true\n";
  options.environment["PWD"] = folder;
  const Result result = run_gamelan(
      {"run", "sh", "-c", "cd " + folder + " && exec " GAMELAN_PROGRAM " run mine"}, options);
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("did you mean ./mine?"));
}

TEST(CommandLineTest, DoctorSpeaksJson) {
  const Result result = run_gamelan({"doctor", "--json"});
  ASSERT_EQ(result.exit, 0) << result.errors;
  const auto report = nlohmann::json::parse(result.output, nullptr, false);
  ASSERT_TRUE(report.is_object()) << result.output;
  EXPECT_GE(report["cpu"]["usable"].get<int>(), 1);
  EXPECT_GT(report["memory"]["total_bytes"].get<long long>(), 1 << 20);
  EXPECT_TRUE(report["cpu"]["features"].contains("avx2"));
  EXPECT_TRUE(report["libraries"].contains("fmt"));
  EXPECT_THAT(report["would_use"]["kernels"].get<std::string>(),
              ::testing::AnyOf("scalar", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx"));
  EXPECT_THAT(run_gamelan({"doctor"}).output, HasSubstr("gamelan-train"));
}

TEST(CommandLineTest, DoctorSaysWhetherTheKernelsAreForced) {
  Launched::Options options;
  Result result;
  const auto report_at = [&](const std::string& level) {
    options.environment["GAMELAN_CPU_ISA"] = level;
    result = run_gamelan({"doctor", "--json"}, options);
    return nlohmann::json::parse(result.output, nullptr, false);
  };
  const auto own = report_at("");  // not set
  EXPECT_EQ(own["would_use"]["kernels_forced"], false);
  EXPECT_EQ(own["would_use"]["kernels_warning"], "");

  const std::string lower = own["cpu"]["features"]["avx2"] == true ? "avx2" : "scalar";
  const auto forced = report_at(lower);
  EXPECT_EQ(forced["would_use"]["kernels"], lower);
  EXPECT_EQ(forced["would_use"]["kernels_forced"], true);
  EXPECT_EQ(forced["would_use"]["kernels_warning"], "");
  EXPECT_THAT(run_gamelan({"doctor"}, options).output,
              HasSubstr("kernels for " + lower + " (forced by GAMELAN_CPU_ISA)"));

  const auto misspelt = report_at("avx521");
  EXPECT_EQ(misspelt["would_use"]["kernels"], own["would_use"]["kernels"]);
  EXPECT_EQ(misspelt["would_use"]["kernels_forced"], false);
  const std::string warning =
      "GAMELAN_CPU_ISA: expected one of scalar, avx2, avx512, avx512_vnni, avx512_bf16, amx, got "
      "'avx521'; using " +
      own["would_use"]["kernels"].get<std::string>();
  EXPECT_EQ(misspelt["would_use"]["kernels_warning"], warning);
  EXPECT_THAT(result.errors, HasSubstr(warning));
}

}  // namespace
}  // namespace gamelan::testing
