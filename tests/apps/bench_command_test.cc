// `gamelan bench` as a user runs it: every figure is there and holds together.
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr const char* kModel = GAMELAN_SOURCE_DIR "/tests/infer/data/bloom_5_heads";

TEST(BenchCommand, ReportsPrefillAndDecodeBesideTheMachine) {
  const Result result =
      run_gamelan({"bench", "--model", kModel, "--prompt-tokens", "40", "--decode-tokens", "3",
                   "--contexts", "8", "--batch-sizes", "1,3", "--rounds", "1", "--threads", "1",
                   "--max-num-batched-tokens", "16", "--json"});
  ASSERT_EQ(result.exit, 0) << result.errors;
  const json figures = json::parse(result.output).at("figures");
  ASSERT_EQ(figures.size(), 3U);
  EXPECT_EQ(figures[0]["what"], "prefill");
  EXPECT_GT(figures[0]["tokens_per_second"], 0);
  EXPECT_GT(figures[0]["products_alone_tokens_per_second"], 0);
  EXPECT_NEAR(
      figures[0]["gflops"].get<double>() / figures[0]["products_alone_gflops"].get<double>(),
      figures[0]["fraction_of_products"].get<double>(), 1e-9);
  for (int i = 1; i <= 2; ++i) {
    const json& decode = figures[static_cast<std::size_t>(i)];
    EXPECT_EQ(decode["what"], "decode");
    EXPECT_EQ(decode["batch"], i == 1 ? 1 : 3);
    EXPECT_GT(decode["weight_bytes_per_step"], 0);
    EXPECT_GT(decode["cache_bytes_per_step"], 0);
    EXPECT_GT(decode["read_bandwidth"], 0.1);
    EXPECT_GT(decode["fraction_of_bandwidth"], 0);
  }
  // Three texts read three times the cache of one.
  EXPECT_NEAR(figures[2]["cache_bytes_per_step"].get<double>(),
              3 * figures[1]["cache_bytes_per_step"].get<double>(), 1);
}

/// `gamelan bench` of a model in one process, or in two with `--SPLIT-parallel-size 2`.
json bench_of(const std::string& model, const std::string& split = "") {
  std::vector<std::string> arguments;
  if (!split.empty()) {
    arguments = {"run", "--standalone", "--nproc-per-node", "2", "--", GAMELAN_PROGRAM};
  }
  arguments.insert(arguments.end(), {"bench", "--model", model, "--prompt-tokens", "8",
                                     "--decode-tokens", "2", "--contexts", "4", "--batch-sizes",
                                     "1", "--rounds", "1", "--threads", "1", "--json"});
  if (!split.empty()) {
    arguments.insert(arguments.end(), {"--" + split + "-parallel-size", "2"});
  }
  const Result result = run_gamelan(arguments);
  EXPECT_EQ(result.exit, 0) << result.errors;
  return json::parse(result.output.substr(std::min(result.output.find('{'), result.output.size())),
                     nullptr, false);
}

TEST(BenchCommand, TellsWhatEachRankHolds) {
  const json whole = bench_of(kModel).at("ranks");
  const json parts = bench_of(kModel, "pipeline");
  ASSERT_EQ(whole.size(), 1U);
  ASSERT_EQ(parts.at("ranks").size(), 2U);
  double held = 0;
  for (const json& rank : parts.at("ranks")) {
    held += rank["weight_bytes"].get<double>();
    EXPECT_GT(rank["resident_anonymous_bytes"], 0);
  }
  EXPECT_EQ(held, whole[0]["weight_bytes"].get<double>());
  EXPECT_FALSE(parts["figures"][0].contains("products_alone_gflops"));
  EXPECT_EQ(parts["figures"][1]["ranks"], 2);
  EXPECT_GT(parts["figures"][1]["tokens_per_second"], 0);
}

TEST(BenchCommand, ATensorRankHoldsHalfOfEachMatrix) {
  const std::string model = GAMELAN_SOURCE_DIR "/tests/infer/data/bloom_12_heads";
  const double whole = bench_of(model).at("ranks").at(0).at("weight_bytes").get<double>();
  const json parts = bench_of(model, "tensor").at("ranks");
  ASSERT_EQ(parts.size(), 2U);
  for (const json& rank : parts) {
    // The output head, which is the embedding table here, counts. Both have all norms, and panels
    // of few rows are filled up.
    EXPECT_LE(rank.at("weight_bytes").get<double>(), 0.6 * whole);
    EXPECT_GE(rank.at("weight_bytes").get<double>(), 0.5 * whole);
  }
}

TEST(BenchCommand, SaysWhatDoesNotFit) {
  const Result result = run_gamelan({"bench", "--model", kModel, "--contexts", "100000",
                                     "--prompt-tokens", "4", "--kv-cache-memory", "1MiB"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("blocks"));
}

/// A rate of fewer texts than it is said to be of would mislead.
TEST(BenchCommand, MeasuresAsManyTextsAsItSays) {
  std::vector<std::string> arguments = {"bench", "--model",
                                        kModel,  "--contexts",
                                        "40",    "--batch-sizes",
                                        "6",     "--prompt-tokens",
                                        "4",     "--decode-tokens",
                                        "2",     "--rounds",
                                        "1",     "--max-num-batched-tokens",
                                        "14"};
  const Result slowly = run_gamelan(arguments);
  EXPECT_EQ(slowly.exit, 0) << slowly.errors;
  arguments.insert(arguments.end(), {"--max-num-seqs", "4"});
  const Result fewer = run_gamelan(arguments);
  EXPECT_EQ(fewer.exit, 1);
  EXPECT_THAT(fewer.errors, HasSubstr("expected 6 texts that grow at the same time"));
}

}  // namespace
}  // namespace gamelan::testing
