// Equality with HuggingFace's tokenizers; make_tokenizer_golden.py made the files and the right
// sides.

#include "io/load_tokenizer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "io/tokenizer_json.h"
#include "tests/io/real_data.h"
#include "text/stream_decoder.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using text::TokenId;

const std::string kGolden = std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/tokenizers/";

class TokenizerGolden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::ifstream in(kGolden + GetParam() + ".json");
    golden_ = json::parse(in);
    auto tokenizer = parse_pipeline_json(golden_["tokenizer"].dump(), "golden");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  std::string streamed(const std::vector<TokenId>& ids, bool skip) {
    text::StreamDecoder stream(*tokenizer_, skip);
    std::string text;
    for (const TokenId id : ids) {
      text += stream.push(id);
    }
    return text + stream.finish();
  }

  json golden_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
};

TEST_P(TokenizerGolden, EveryText) {
  for (const json& expected : golden_["cases"]) {
    const auto text = expected["text"].get<std::string>();
    const auto ids = tokenizer_->encode(text);
    EXPECT_EQ(ids, expected["ids"].get<std::vector<TokenId>>()) << expected["text"];
    EXPECT_EQ(tokenizer_->encode(text, false), expected["plain"].get<std::vector<TokenId>>())
        << expected["text"];
    EXPECT_EQ(tokenizer_->decode(ids, false), expected["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer_->decode(ids, true), expected["skipped"].get<std::string>());
  }
}

TEST_P(TokenizerGolden, StreamedPiecesJoinToTheWhole) {
  if (golden_["tokenizer"]["decoder"].is_null()) {
    GTEST_SKIP() << "joined with blanks";
  }
  std::mt19937 random(7);
  std::uniform_int_distribution<TokenId> any(
      0, static_cast<TokenId>(tokenizer_->vocabulary_size()));  // one past the end, too
  for (int round = 0; round < 300; ++round) {
    std::vector<TokenId> ids(static_cast<std::size_t>(round % 40));
    for (TokenId& id : ids) {
      id = any(random);
    }
    for (const bool skip : {false, true}) {
      ASSERT_EQ(streamed(ids, skip), tokenizer_->decode(ids, skip)) << testing::PrintToString(ids);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden,
                         testing::Values("gpt2", "prefix_space", "llama3", "qwen2", "bloom",
                                         "other_regex", "digits", "llama2_legacy", "llama2",
                                         "metaspace", "whitespace"));

std::string error_of(std::string_view text) {
  const auto tokenizer = parse_pipeline_json(text, "t.json");
  return tokenizer.ok() ? "" : std::string(base::message(tokenizer.status()));
}

TEST(TokenizerJson, BadFilesAreRefusedByName) {
  using testing::HasSubstr;
  EXPECT_THAT(error_of("[]"), HasSubstr("t.json: expected an object"));
  EXPECT_THAT(error_of("{\"model\":"), HasSubstr("t.json"));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {"a": 0}, "merges": ["a b"]}})"),
              HasSubstr("merge 0 ('a' 'b'): expected tokens of the vocabulary, found no 'b'"));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {"a": 0}, "merges": ["ab"]}})"),
              HasSubstr("merge 0: expected two tokens"));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {"a": 4000000000}, "merges": []}})"),
              HasSubstr("id of 'a': expected a whole number from 0 to"));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {}, "merges": [], "dropout": 0.5}})"),
              HasSubstr("expected no dropout"));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {}, "merges": []}, "normalizer": {"type": "Nmt"}})"),
              HasSubstr("t.json: normalizer: expected one of Lowercase"));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {}, "merges": []}, "pre_tokenizer":
      {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}})"),
              HasSubstr("expected a regular expression, got '('"));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {}, "merges": []}, "decoder": {"type": "CTC"}})"),
              HasSubstr("got 'CTC'"));
}

TEST(LoadTokenizer, MissingFolderSaysWhatWasLookedFor) {
  const auto missing = load_tokenizer("/nonexistent");
  EXPECT_THAT(std::string(base::message(missing.status())), testing::HasSubstr("/nonexistent"));
}

/// What HuggingFace's decode does to the text by default, and ours never: blanks in front of
/// punctuation go (clean_up_tokenization_spaces). The cases below were decoded with it.
std::string without_blanks_before_punctuation(std::string text) {
  for (const char* const mark : {".", "?", "!", ",", " ' ", "n't", "'m", "'s", "'ve", "'re"}) {
    const bool apostrophe = mark[0] == ' ';
    const std::string from = apostrophe ? " ' " : std::string(" ") + mark;
    const std::string to = apostrophe ? "'" : mark;
    for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) {
      text.replace(at, from.size(), to);
    }
  }
  return text;
}

// The merges and the vocabulary of GPT-2 itself, which lie outside the project.
TEST(LoadTokenizer, RealGpt2Cases) {
  const fs::path data = data_path("");
  SKIP_WITHOUT(data / "gpt2/gpt2-vocab.json");
  const auto read = [&](const char* name) {
    std::ifstream in(data / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const auto tokenizer = parse_vocab_and_merges(read("gpt2/gpt2-vocab.json"),
                                                read("gpt2/gpt2-merges.txt"), "gpt2", "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::ifstream lines(data / "tokenizer-golden/hf_cases.jsonl");
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    const json expected = json::parse(line);
    if (expected["model"] == "gpt2") {
      ++count;
      const auto ids = (*tokenizer)->encode(expected["text"].get<std::string>());
      EXPECT_EQ(ids, expected["ids"].get<std::vector<TokenId>>()) << expected["case"];
      EXPECT_EQ(without_blanks_before_punctuation((*tokenizer)->decode(ids, false)),
                expected["decoded"].get<std::string>());
    }
  }
  EXPECT_EQ(count, 13);
}

}  // namespace
}  // namespace gamelan::io
