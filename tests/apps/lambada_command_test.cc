// `gamelan eval lambada` as a user runs it, on a tiny model and passages that it cannot but
// predict.
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/apps/bloom_folder.h"
#include "tests/io/temporary_folder.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class LambadaCommand : public ::testing::Test {
 protected:
  void SetUp() override { copy_bloom_of_characters(folder_); }
  Result evaluate(const std::string& passages, std::vector<std::string> options = {}) {
    options.insert(options.begin(),
                   {"eval", "lambada", "--checkpoint-path", folder_.path(), "--dataset-path",
                    folder_.write("passages.jsonl", passages), "--data-type", "fp32"});
    return run_gamelan(options);
  }

  io::TemporaryFolder folder_;
};

TEST_F(LambadaCommand, CountsRowsWhoseEveryTokenIsRight) {
  const std::string out = folder_.file("rows.json");
  const Result result = evaluate(
      "{\"text\": \"once upon a time\"}\n{\"text\": \"two words\"}\n{\"text\": \"a b c d e f "
      "g\"}\n",
      {"--batch-size", "2", "--output-path", out});
  ASSERT_EQ(result.exit, 0) << result.errors;
  EXPECT_THAT(result.output, ContainsRegex("Accuracy: [0-9.]+% \\([0-3]/3\\) \\(elapsed time: "
                                           "[0-9]+\\.[0-9]{4} sec\\)\n"));
  std::ifstream file(out);
  const json rows = json::parse(file);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[1]["target"], " words");
  EXPECT_EQ(rows[1]["target_ids"].size(), 6U);
  EXPECT_EQ(rows[1]["output_ids"].size(), 6U);
  // The correct ones are those whose output is the target.
  std::size_t correct = 0;
  for (const json& row : rows) {
    EXPECT_EQ(row["correct"], row["output_ids"] == row["target_ids"]);
    correct += row["correct"].get<bool>() ? 1 : 0;
  }
  EXPECT_THAT(result.output, HasSubstr(" (" + std::to_string(correct) + "/3) "));
}

TEST_F(LambadaCommand, TheBatchDoesNotChangeTheTokens) {
  std::string passages;
  for (int i = 0; i < 20; ++i) {
    passages += json{{"text", std::string(static_cast<std::size_t>(1 + 3 * i), 'a') + " word" +
                                  std::string(static_cast<std::size_t>(i % 4), 'x')}}
                    .dump() +
                "\n";
  }
  std::vector<json> all;
  for (const char* const batch : {"1", "7", "64"}) {
    const std::string out = folder_.file("rows.json");
    const Result result = evaluate(passages, {"--batch-size", batch, "--output-path", out});
    ASSERT_EQ(result.exit, 0) << result.errors;
    std::ifstream file(out);
    all.push_back(json::parse(file));
  }
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0], all[2]);
}

TEST_F(LambadaCommand, TakesTheOptionsOfTheScript) {
  const Result result =
      evaluate("{\"text\": \"two words\"}\n",
               {"-tp", "1", "-pp=1", "--lib_path", "libth_transformer.so", "--num-heads", "12",
                "--top-k", "1", "--random-seed", "1", "2", "--beam-width", "2",
                "--return-cum-log-probs", "1", "--acc-threshold", "0", "--show-progress"});
  ASSERT_EQ(result.exit, 0) << result.errors;
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("--num-heads, --lib-path: ignored"), HasSubstr("TEST PASS")));
  const Result failed = evaluate("{\"text\": \"two words\"}\n", {"--acc-threshold", "101"});
  EXPECT_EQ(failed.exit, 1);
  EXPECT_THAT(failed.output, HasSubstr("TEST FAIL"));
  const Result hf = evaluate("{\"text\": \"two words\"}\n", {"--test-hf"});
  EXPECT_EQ(hf.exit, 2);
  EXPECT_THAT(hf.errors, HasSubstr("bench/peers/lambada_hf.py"));
}

TEST_F(LambadaCommand, SaysWhatIsWrong) {
  const auto errors = [&](const std::string& passages, std::vector<std::string> options = {}) {
    const Result result = evaluate(passages, std::move(options));
    EXPECT_NE(result.exit, 0);
    return result.errors;
  };
  EXPECT_THAT(errors("{\"text\": \"two words\"}\n{\"txt\": 1}\n"),
              AllOf(HasSubstr("passages.jsonl:2"), HasSubstr("text")));
  EXPECT_THAT(errors("{\"text\": \"word\"}\n"), HasSubstr("expected a text and a last word"));
  EXPECT_THAT(errors("{\"text\": \"two\n"), HasSubstr("passages.jsonl:1"));
  EXPECT_THAT(errors(""), HasSubstr("has no lines"));
  EXPECT_THAT(errors("{\"text\": \"two words\"}\n", {"-tp", "5"}),
              HasSubstr("expected 5 processes"));
  EXPECT_THAT(errors("{\"text\": \"two words\"}\n", {"--beam-width", "2", "--top-k", "5"}),
              HasSubstr("--beam-width 2"));
  EXPECT_THAT(errors("{\"text\": \"two words\"}\n", {"--dtype", "bf16"}),
              HasSubstr("--inference-data-type"));
}

TEST(LambadaLimit, NamesTheRowThatIsTooLong) {
  const io::TemporaryFolder folder;
  copy_model_of_characters(folder, "gpt2");
  const std::string rows =
      folder.write("passages.jsonl",
                   "{\"text\": \"two words\"}\n{\"text\": \"" + std::string(65, 'a') + " b\"}\n");
  const Result result =
      run_gamelan({"eval", "lambada", "--checkpoint-path", folder.path(), "--dataset-path", rows});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors,
              HasSubstr("passages.jsonl: row 2: prompt: 65 tokens, but the model takes 64"));
}

}  // namespace
}  // namespace gamelan::testing
