#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/load_tokenizer.h"
#include "tests/io/temporary_folder.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

/// A tokenizer of a few lines, trained by the program itself.
class TokenizeCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string text = folder_.write("text.txt", "low lower lowest\nnew newer newest\n");
    const Result trained =
        run_gamelan({"tokenize", "--train", text, text, "--vocab-size", "270", "--output-dir",
                     folder_.file("out"), "--pad_token", "<pad>"});
    ASSERT_EQ(trained.exit, 0) << trained.errors;
    EXPECT_THAT(trained.output, HasSubstr("270 tokens, 12 merges"));
    model_ = folder_.file("out");
  }

  Result tokenize(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), {"tokenize", "--model", model_});
    Launched::Options options;
    options.input = input;
    return run_gamelan(arguments, options);
  }

  io::TemporaryFolder folder_;
  std::string model_;
};

TEST_F(TokenizeCommand, IdsAndTextRoundTrip) {
  const std::string text = "lowest <|endoftext|> naïve";
  const Result encoded = tokenize({text});
  ASSERT_EQ(encoded.exit, 0) << encoded.errors;
  const Result decoded = tokenize({"--decode"}, encoded.output);
  EXPECT_EQ(decoded.output, text + "\n");
  EXPECT_EQ(tokenize({"--decode", "--skip-special-tokens"}, encoded.output).output,
            "lowest  naïve\n");
}

TEST_F(TokenizeCommand, EachLineIsAText) {
  const Result encoded = tokenize({"--json"}, "newer\n\nlow\n");
  ASSERT_EQ(encoded.exit, 0) << encoded.errors;
  std::istringstream lines(encoded.output);
  std::vector<json> all;
  for (std::string line; std::getline(lines, line);) {
    all.push_back(json::parse(line));
  }
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0]["text"], "newer");
  EXPECT_EQ(all[0]["ids"].size(), all[0]["tokens"].size());
  EXPECT_TRUE(all[1]["ids"].empty());
  const auto tokenizer = io::load_tokenizer(model_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->encode("low"), all[2]["ids"].get<std::vector<text::TokenId>>());
  EXPECT_EQ((*tokenizer)->id_of("<pad>"), 1);
}

TEST_F(TokenizeCommand, MistakesAreNamed) {
  EXPECT_EQ(run_gamelan({"tokenize"}).exit, 2);
  EXPECT_EQ(tokenize({"--train", "x"}).exit, 2);
  const Result no_output = run_gamelan({"tokenize", "--train", "x"});
  EXPECT_EQ(no_output.exit, 2);
  EXPECT_THAT(no_output.errors, HasSubstr("--train needs --output-dir"));
  for (const std::vector<std::string>& useless :
       std::vector<std::vector<std::string>>{{"--vocab-size", "300"},
                                             {"--output-dir", "o"},
                                             {"--skip-special-tokens", "x"},
                                             {"--decode", "--no-special-tokens", "1"},
                                             {"--file", "f", "x"}}) {
    EXPECT_EQ(tokenize(useless).exit, 2) << useless[0];
  }
  EXPECT_THAT(run_gamelan({"tokenize", "--train", "x", "--output-dir", "o", "--decode"}).errors,
              HasSubstr("--decode requires --model"));
  const Result no_ids = tokenize({"--decode", "12,x"});
  EXPECT_EQ(no_ids.exit, 1);
  EXPECT_THAT(no_ids.errors, HasSubstr("expected token ids, got 'x'"));
  EXPECT_THAT(tokenize({"--decode", "270"}).errors, HasSubstr("expected ids below 270, got 270"));
  const Result small = run_gamelan({"tokenize", "--train", folder_.file("text.txt"), "--vocab-size",
                                    "10", "--output-dir", folder_.file("none")});
  EXPECT_EQ(small.exit, 1);
  EXPECT_THAT(small.errors, HasSubstr("expected a vocabulary of 257"));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("none")));
  EXPECT_THAT(run_gamelan({"tokenize", "--train", "/nonexistent", "--output-dir", "o"}).errors,
              HasSubstr("/nonexistent"));
}

}  // namespace
}  // namespace gamelan::testing
