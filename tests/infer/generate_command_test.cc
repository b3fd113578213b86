// `gamelan generate` as its user sees it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "model_fixture.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using infer::testing::model_folder;
using infer::testing::read_expected;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

std::string list_of(const std::vector<text::TokenId>& ids) {
  return fmt::format("{}", fmt::join(ids, ","));
}

Arguments joined(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Result generate(const Arguments& arguments) {
  return run_gamelan(joined({"generate"}, arguments));
}

Json generate_json(const Arguments& arguments) {
  const Result result = generate(joined(arguments, {"--json"}));
  EXPECT_EQ(result.exit, 0) << result.errors;
  return Json::parse(result.output, nullptr, false);
}

TEST(GenerateCommand, AnswersTokensWithTokens) {
  for (const std::string name : {"gpt2", "bloom_5_heads", "llama", "opt_projected"}) {
    const auto expected = read_expected(name);
    const Json json = generate_json({"--model", model_folder(name), "--dtype", "f32", "--input-ids",
                                     list_of(expected.input_ids), "--ignore-eos",
                                     "--max-new-tokens", std::to_string(expected.greedy.size())});
    const Json& text = json["results"][0]["texts"][0];
    EXPECT_EQ(text["token_ids"], expected.greedy) << name;
    EXPECT_EQ(text["finish_reason"], "length");
    EXPECT_FALSE(text.contains("text"));
    EXPECT_EQ(json["results"][0]["input_ids"], expected.input_ids);
    EXPECT_EQ(json["statistics"]["generated_tokens"], expected.greedy.size());
  }
}

TEST(GenerateCommand, RunsOnSeveralRanks) {
  const auto expected = read_expected("llama");
  for (const auto& [tensor, pipeline] : {std::pair{"2", "1"}, {"1", "2"}, {"2", "2"}}) {
    const int ranks = std::stoi(tensor) * std::stoi(pipeline);
    const Result result = run_gamelan({"run",
                                       "--standalone",
                                       "--nproc-per-node",
                                       std::to_string(ranks),
                                       GAMELAN_PROGRAM,
                                       "generate",
                                       "--model",
                                       model_folder("llama"),
                                       "--dtype",
                                       "f32",
                                       "--input-ids",
                                       list_of(expected.input_ids),
                                       "--ignore-eos",
                                       "--max-new-tokens",
                                       std::to_string(expected.greedy.size()),
                                       "--tensor_parallel_size",
                                       tensor,
                                       "--pipeline_parallel_size",
                                       pipeline,
                                       "--json"});
    ASSERT_EQ(result.exit, 0) << result.errors;
    EXPECT_EQ(Json::parse(result.output)["results"][0]["texts"][0]["token_ids"], expected.greedy)
        << tensor << " x " << pipeline;
  }
}

TEST(GenerateCommand, ATensorParallelSizeThatDoesNotDivideIsRefused) {
  const Result result = run_gamelan({"run", "--standalone", "--nproc-per-node", "3", "--",
                                     GAMELAN_PROGRAM, "generate", "--model", model_folder("gpt2"),
                                     "--input-ids", "5", "--tensor-parallel-size", "3"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors,
              HasSubstr(model_folder("gpt2") + ": tensor parallel size 3: expected a divisor of "
                                               "the model's 4 attention heads"));
  EXPECT_EQ(result.output, "");
}

TEST(GenerateCommand, SaysWhatIsWrong) {
  struct Case {
    Arguments arguments;
    int exit;
    std::string message;
  };
  const Arguments gpt2{"--model", model_folder("gpt2")};
  const std::vector<Case> cases = {
      {gpt2, 2, "expected --prompt, --prompt-file or --input-ids"},
      {{"--prompt", "x"}, 2, "--model is required"},
      {joined(gpt2, {"--input-ids", "5,x"}), 2, "expected token ids as in 5,17,3, got 'x'"},
      {joined(gpt2, {"--input-ids", "5", "--prompt", "x"}), 2, "either tokens or text, got both"},
      {joined(gpt2, {"--input-ids", "5", "--dtype", "f8"}), 2, "--dtype: expected auto, f32"},
      {joined(gpt2, {"--input-ids", "5", "--kv-cache-dtype", "u8"}), 2, "--kv-cache-dtype: expec"},
      {joined(gpt2, {"--input-ids", "5", "--tensor-parallel-size", "2"}), 2, "expected 2 processe"},
      {joined(gpt2, {"--input-ids", "5", "--max-new-tokens", "0"}), 2, "--max-new-tokens"},
      {joined(gpt2, {"--input-ids", "5", "--num-assistant-tokens", "2"}), 2, "--assistant-model"},
      {joined(gpt2, {"--input-ids", "5", "--temprature", "1"}), 2, "did you mean --temperature?"},
      {joined(gpt2, {"--input-ids", "97"}), 1, "prompt: expected tokens 0 … 96, got 97 at index 0"},
      {joined(gpt2, {"--input-ids", "5", "--max-new-tokens", "65"}), 1,
       "the model takes 64 tokens; a prompt of 1 leaves room for 64, got 65"},
      {joined(gpt2, {"--input-ids", list_of(std::vector<text::TokenId>(65, 5))}), 1,
       "prompt: 65 tokens, but the model takes 64"},
      {joined(gpt2, {"--input-ids", "5", "--top-p", "0"}), 1, "top_p: expected more than 0"},
      {joined(gpt2, {"--input-ids", "5", "--n", "2"}), 1, "would all be the same"},
      {joined(gpt2, {"--input-ids", "5", "--kv-cache-memory", "10"}), 1, "hold no block of 16"},
      {joined(gpt2, {"--prompt", "x"}), 1, "expected tokenizer.json, vocab.json"},
      {{"--model", "/nope", "--prompt", "x"}, 1, "/nope"},
      {joined(gpt2, {"--prompt-file", model_folder("gpt2")}), 1, "--prompt-file: cannot read"},
      {{"--model", model_folder("bert"), "--input-ids", "5"}, 1, "does not continue them"},
  };
  for (const Case& one : cases) {
    const Result result = generate(one.arguments);
    EXPECT_EQ(result.exit, one.exit) << one.message;
    EXPECT_THAT(result.errors, HasSubstr(one.message));
    EXPECT_EQ(result.output, "") << one.message;
  }
}

/// A trained model: ../shared/data/stories260K.
class GenerateStories : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(folder_ + "stories260K.bin")) {
      GTEST_SKIP() << "SKIPPED: " << folder_ << " is missing";
    }
    expected_ = read_file(folder_ + "expected_greedy_200.txt");
  }
  /// On one thread: kernels this small are not worth waiting for each other on a busy machine.
  Arguments story(const Arguments& more) const {
    return joined({"--model", folder_ + "stories260K.bin", "--prompt", "", "--max-new-tokens",
                   "200", "--threads", "1"},
                  more);
  }
  std::string folder_ = std::string(GAMELAN_SOURCE_DIR) + "/../shared/data/stories260K/";
  std::string expected_;
};

TEST_F(GenerateStories, TwoHundredGreedyTokens) {
  const Json json = generate_json(story({}));
  EXPECT_EQ(json["results"][0]["texts"][0]["text"], expected_);
  EXPECT_EQ(json["results"][0]["texts"][0]["token_ids"].size(), 200U);
  for (const Arguments& how :
       std::vector<Arguments>{{"--stream"},
                              {"--prompt-lookup-num-tokens", "6"},
                              {"--assistant-model", folder_ + "stories260K.bin"},
                              {"--max-num-batched-tokens", "1"},
                              {"--tokenizer-path", folder_ + "tok512.bin"}}) {
    const Result result = generate(story(how));
    EXPECT_EQ(result.exit, 0) << result.errors;
    EXPECT_EQ(result.output, expected_ + "\n") << how[0];
  }
}

TEST_F(GenerateStories, StreamsOnATerminal) {
  Launched::Options options;
  options.on_terminal = true;
  Launched command(joined({"generate"}, story({})), options);
  EXPECT_TRUE(command.output_has("there was a little girl"));
  EXPECT_EQ(command.wait(), 0);
  std::string output;
  for (const char c : command.output()) {
    output += c == '\r' ? "" : std::string(1, c);
  }
  EXPECT_EQ(output, expected_ + "\n");
}

TEST_F(GenerateStories, StopsAtText) {
  const Json json = generate_json(story({"--stop", "never comes", "--stop", "big, red"}));
  const Json& text = json["results"][0]["texts"][0];
  EXPECT_EQ(text["text"], expected_.substr(0, expected_.find("big, red")));
  EXPECT_EQ(text["finish_reason"], "stop");
  EXPECT_LT(text["token_ids"].size(), 100U);
}

TEST_F(GenerateStories, BeamsStopAtTextAndScoreTheirTokens) {
  const Json json =
      generate_json(story({"--num-beams", "4", "--n", "2", "--stop", ".", "--logprobs", "2"}));
  for (const Json& text : json["results"][0]["texts"]) {
    const std::string words = text["text"];
    EXPECT_EQ(words.find('.'), std::string::npos) << words;
    EXPECT_EQ(text["finish_reason"], "stop") << words;
    EXPECT_LT(text["token_ids"].size(), 60U);
    EXPECT_EQ(text["log_probabilities"].size(), text["token_ids"].size());
    EXPECT_EQ(text["alternatives"].size(), text["token_ids"].size());
  }
}

TEST_F(GenerateStories, SeveralPromptsAndTexts) {
  const Arguments arguments{"--model",
                            folder_ + "stories260K.bin",
                            "--prompt",
                            "The cat",
                            "--prompt",
                            "A dog",
                            "--max-new-tokens",
                            "20",
                            "--temperature",
                            "1",
                            "--top-k",
                            "50",
                            "--seed",
                            "7",
                            "--n",
                            "2"};
  const Json both = generate_json(arguments);
  ASSERT_EQ(both["results"].size(), 2U);
  EXPECT_NE(both["results"][0]["texts"][0]["text"], both["results"][0]["texts"][1]["text"]);
  Arguments alone = arguments;
  alone.erase(alone.begin() + 2, alone.begin() + 4);
  EXPECT_EQ(generate_json(alone)["results"][0]["texts"], both["results"][1]["texts"]);
  const Result printed = generate(arguments);
  EXPECT_THAT(printed.output, HasSubstr("[prompt 2, text 1]\n"));
}

}  // namespace
}  // namespace gamelan::testing
