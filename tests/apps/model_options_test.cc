// What the verbs that run a model have in common.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <vector>

#include "device/cpu.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kModel = GAMELAN_SOURCE_DIR "/tests/infer/data/bloom_12_heads";

/// Each process says what it runs on, as rank 0 of a model of its own, beside the others.
TEST(ModelOptions, TheProcessesOfAHostShareItsCpus) {
  const int cpus = device::usable_cpu_count();
  if (cpus < 2) {
    GTEST_SKIP() << "SKIPPED: needs 2 CPUs";
  }
  for (const int processes : {2, 3}) {
    const Result result = run_gamelan(
        run_shell(processes, fmt::format("WORLD_SIZE=1 exec {} generate --model {} --input-ids 5 "
                                         "--max-new-tokens 1 --verbose",
                                         GAMELAN_PROGRAM, kModel)));
    ASSERT_EQ(result.exit, 0) << result.errors;
    const int threads = std::max(1, cpus / processes);
    EXPECT_EQ(count_of(result.errors, fmt::format(" on the CPU, {} thread{}, loaded in ", threads,
                                                  threads == 1 ? "" : "s")),
              processes)
        << result.errors;
  }
}

TEST(ModelOptions, VerbsWithoutTextTakeNoTokenizer) {
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"bench"},
        {"eval", "logits", "--input-ids", "5", "--out", "/dev/null"}}) {
    std::vector<std::string> arguments = verb;
    arguments.insert(arguments.end(), {"--model", kModel, "--tokenizer-path", kModel});
    const Result result = run_gamelan(arguments);
    EXPECT_EQ(result.exit, 2);
    EXPECT_THAT(result.errors, HasSubstr("unknown option --tokenizer-path"));
  }
}

}  // namespace
}  // namespace gamelan::testing
