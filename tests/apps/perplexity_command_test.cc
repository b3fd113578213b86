// `gamelan eval perplexity` as a user runs it.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/apps/bloom_folder.h"
#include "tests/io/temporary_folder.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using nlohmann::json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class PerplexityCommand : public ::testing::Test {
 protected:
  void SetUp() override { copy_model_of_characters("bloom_12_heads", folder_); }
  Result measure(const std::string& text, std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"eval", "perplexity", "--model", folder_.path(), "--text-file",
                                     folder_.write("text.txt", text), "--dtype", "f32"});
    return run_gamelan(options);
  }

  io::TemporaryFolder folder_;
};

TEST_F(PerplexityCommand, PrintsTheExponentialOfTheMean) {
  const Result result =
      measure("once upon a time there was a text", {"--max-length", "8", "--json"});
  ASSERT_EQ(result.exit, 0) << result.errors;
  const json printed = json::parse(result.output);
  EXPECT_EQ(printed["text_tokens"], 33);
  EXPECT_EQ(printed["tokens"], 33 - 5);  // the first of each of five windows has no context
  EXPECT_NEAR(printed["perplexity"].get<double>(),
              std::exp(printed["negative_log_likelihood"].get<double>() / 28), 1e-9);
}

TEST_F(PerplexityCommand, PrintsALine) {
  const Result result = measure("once upon a time", {"--max-tokens", "12", "--stride", "3"});
  ASSERT_EQ(result.exit, 0) << result.errors;
  EXPECT_THAT(result.output, ContainsRegex("Perplexity: [0-9.]+ \\(11 tokens foretold of 12, "));
}

TEST_F(PerplexityCommand, SaysWhatIsWrongWithTheText) {
  const Result empty = measure("");
  EXPECT_NE(empty.exit, 0);
  EXPECT_THAT(empty.errors, HasSubstr("text.txt: text: expected at least 2 tokens, got 0"));
  const Result missing = run_gamelan(
      {"eval", "perplexity", "--model", folder_.path(), "--text-file", folder_.file("none.txt")});
  EXPECT_NE(missing.exit, 0);
  EXPECT_THAT(missing.errors, HasSubstr("none.txt"));
  const Result stride = measure("some text", {"--max-length", "4", "--stride", "5"});
  EXPECT_NE(stride.exit, 0);
  EXPECT_THAT(stride.errors, HasSubstr("stride: expected 1 … 4"));
}

}  // namespace
}  // namespace gamelan::testing
