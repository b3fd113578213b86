// FasterTransformer folders from `gamelan convert` to what a model says.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/apps/bloom_folder.h"
#include "tests/infer/model_fixture.h"
#include "tests/io/temporary_folder.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

/// The tiny BLOOM of 12 heads, written in two parts.
class FasterTransformerFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    copy_model_of_characters("bloom_12_heads", source_);
    const Result converted = run_gamelan(
        {"convert", "-i", source_.path(), "-o", folder_.path(), "-tp", "2", "-dt", "fp32"});
    ASSERT_EQ(converted.exit, 0) << converted.errors;
  }

  /// What a user may name: the folder that convert was given, and the one it made.
  Arguments folders() const { return {folder_.path(), folder_.file("2-gpu")}; }

  /// Runs a verb, under `gamelan run` when there are several ranks.
  static Result run_on(int ranks, Arguments arguments) {
    if (ranks > 1) {
      arguments.insert(
          arguments.begin(),
          {"run", "--standalone", "--nproc_per_node=" + std::to_string(ranks), GAMELAN_PROGRAM});
      arguments.insert(arguments.end(), {"--tensor-parallel-size", std::to_string(ranks)});
    }
    return run_gamelan(arguments);
  }

  io::TemporaryFolder source_;
  io::TemporaryFolder folder_;
};

TEST_F(FasterTransformerFolder, GeneratesOnAnyNumberOfRanks) {
  const auto expected = infer::testing::read_expected("bloom_12_heads");
  std::string ids;
  for (const text::TokenId id : expected.input_ids) {
    ids += (ids.empty() ? "" : ",") + std::to_string(id);
  }
  const auto results = [&](const std::string& model, int ranks) {
    const Result result =
        run_on(ranks, {"generate", "--model", model, "--tokenizer-path", source_.path(), "--dtype",
                       "f32", "--input-ids", ids, "--ignore-eos", "--max-new-tokens",
                       std::to_string(expected.greedy.size()), "--json"});
    EXPECT_EQ(result.exit, 0) << result.errors;
    return json::parse(result.output, nullptr, false)["results"];
  };
  const json original = results(source_.path(), 1);
  ASSERT_EQ(original[0]["texts"][0]["token_ids"], expected.greedy);
  for (const std::string& folder : folders()) {
    for (const int ranks : {1, 2, 3, 4}) {
      EXPECT_EQ(results(folder, ranks), original) << folder << " on " << ranks;
    }
  }
}

TEST_F(FasterTransformerFolder, NeedsATokenizerForText) {
  const Result result = run_gamelan({"generate", "--model", folder_.path(), "--prompt", "once"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("holds no tokenizer; name one with --tokenizer-path"));
}

TEST_F(FasterTransformerFolder, PredictsTheRowsOfItsSource) {
  const std::string passages = source_.write(
      "passages.jsonl",
      "{\"text\": \"once upon a time\"}\n{\"text\": \"two words\"}\n{\"text\": \"a b c d e f\"}\n");
  const std::string out = folder_.file("rows.json");
  const auto rows = [&](const std::string& model, int ranks) {
    const Result result = run_on(
        ranks, {"eval", "lambada", "--checkpoint-path", model, "--tokenizer-path", source_.path(),
                "--dataset-path", passages, "--data-type", "fp32", "--output-path", out});
    EXPECT_EQ(result.exit, 0) << result.errors;
    EXPECT_EQ(count_of(result.output, "Accuracy: "), 1) << result.output;
    return json::parse(read_file(out), nullptr, false);
  };
  const json original = rows(source_.path(), 1);
  ASSERT_EQ(original.size(), 3U);
  for (const std::string& folder : folders()) {
    for (const int ranks : {1, 2}) {
      EXPECT_EQ(rows(folder, ranks), original) << folder << " on " << ranks;
    }
  }
}

}  // namespace
}  // namespace gamelan::testing
