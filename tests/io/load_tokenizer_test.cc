// Equality with HuggingFace's tokenizers; make_tokenizer_golden.py made the files and the right
// sides.

#include "io/load_tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "io/protobuf_reader.h"
#include "io/tokenizer_json.h"
#include "tests/io/real_data.h"
#include "text/stream_decoder.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using text::TokenId;

const std::string kData = std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/";
const std::string kGolden = kData + "tokenizers/";

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string base64_of(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      bits = (bits << 8) | (i + j < bytes.size() ? static_cast<std::uint8_t>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      text.push_back(i + j > bytes.size() ? '=' : kDigits[(bits >> (18 - 6 * j)) & 63U]);
    }
  }
  return text;
}

/// Field 2 of field 3 of a SentencePiece model.
std::string charsmap_of(const std::string& path) {
  const std::string bytes = contents(path);
  ProtobufReader model(bytes);
  while (model.next()) {
    if (model.is(3, 2)) {
      ProtobufReader normalizer(model.bytes());
      while (normalizer.next()) {
        if (normalizer.is(2, 2)) {
          return std::string(normalizer.bytes());
        }
      }
    }
  }
  return "";
}

/// Puts the maps there that stand in the data once, in the models that the files name.
void fill_in_charsmaps(json& tokenizer) {
  json& normalizer = tokenizer["normalizer"];
  if (!normalizer.is_object() || !normalizer.contains("normalizers")) {
    return;
  }
  for (json& step : normalizer["normalizers"]) {
    const std::string map = step.value("precompiled_charsmap", "");
    if (map.ends_with(".model")) {
      step["precompiled_charsmap"] = base64_of(charsmap_of(kData + map));
    }
  }
}

class TokenizerGolden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::ifstream in(kGolden + GetParam() + ".json");
    golden_ = json::parse(in);
    fill_in_charsmaps(golden_["tokenizer"]);
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
                                         "metaspace", "whitespace", "t5", "xlm_roberta", "albert",
                                         "deberta", "unigram_rules", "unigram_bytes", "unigram_nmt",
                                         "unigram_byte_level", "byte_alphabet"));

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
  EXPECT_THAT(error_of(R"({"model": {"vocab": {}, "merges": []}, "normalizer": {"type": "New"}})"),
              HasSubstr("t.json: normalizer: expected one of ByteLevel, Lowercase"));
  EXPECT_THAT(
      error_of(R"({"model": {"vocab": {}, "merges": []}, "pre_tokenizer": {"type": "Qwen9"}})"),
      testing::AllOf(HasSubstr("t.json: pre_tokenizer: expected one of "),
                     HasSubstr("; got 'Qwen9'")));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {}, "merges": []}, "pre_tokenizer":
      {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}})"),
              HasSubstr("expected a regular expression, got '('"));
  EXPECT_THAT(error_of(R"({"model": {"vocab": {}, "merges": []}, "decoder": {"type": "CTC"}})"),
              HasSubstr("got 'CTC'"));
}

std::string unigram_error(const std::string& model) {
  return error_of(R"({"model": {"type": "Unigram", )" + model + "}}");
}

TEST(TokenizerJson, BadUnigramModelsAreRefusedByName) {
  using testing::HasSubstr;
  EXPECT_EQ(unigram_error(R"("vocab": [["a", -1], ["b", -2.5]], "unk_id": 1)"), "");
  EXPECT_EQ(unigram_error(R"("vocab": [["a", -1]], "unk_id": null, "byte_fallback": true)"), "");
  EXPECT_THAT(unigram_error(R"("unk_id": 0)"), HasSubstr("t.json: model: 'vocab': expected 1 to"));
  EXPECT_THAT(unigram_error(R"("vocab": [], "unk_id": null)"), HasSubstr("tokens, got 0"));
  EXPECT_THAT(unigram_error(R"("vocab": {"a": 0})"), HasSubstr("'vocab': expected an array"));
  EXPECT_THAT(unigram_error(R"("vocab": [["a", -1]], "unk_id": 1)"),
              testing::AllOf(HasSubstr("'unk_id': expected"), HasSubstr("got the number 1")));
  EXPECT_THAT(unigram_error(R"("vocab": [["a", -1]], "unk_id": -1)"), HasSubstr("'unk_id'"));
  for (const char* entry :
       {R"(["b", "-1"])", R"(["b", null])", R"(["b"])", R"([1, 2])", R"("b")", R"({"b": 1})"}) {
    EXPECT_THAT(unigram_error(fmt::format(R"("vocab": [["a", -1], {}])", entry)),
                HasSubstr("model: vocab[1]: expected [token, score], got"));
  }
  EXPECT_THAT(error_of(R"({"model": {"type": "WordLevel", "vocab": {}}})"),
              HasSubstr("expected one of BPE, Unigram, WordPiece; got 'WordLevel'"));
}

std::string charsmap_error(const std::string& charsmap) {
  return error_of(R"({"model": {"vocab": [["a", -1]]}, "normalizer":
      {"type": "Precompiled", "precompiled_charsmap": ")" +
                  charsmap + R"("}})");
}

TEST(TokenizerJson, BadCharsmapsAreRefusedByName) {
  using testing::HasSubstr;
  const std::string good = charsmap_of(kData + "sp_unigram.model");
  EXPECT_EQ(charsmap_error(base64_of(good)), "");
  EXPECT_THAT(charsmap_error("sp_unigram.model"),
              HasSubstr("t.json: normalizer: 'precompiled_charsmap': expected base64, got 'sp_"));
  for (const std::size_t size : {1UL, 3UL, 4UL, 5UL, good.size() / 2}) {
    EXPECT_THAT(charsmap_error(base64_of(good.substr(0, size))),
                HasSubstr("t.json: normalizer: precompiled_charsmap of"));
  }
  EXPECT_THAT(
      charsmap_error(base64_of(good + std::string("\xff\0", 2))),
      HasSubstr("t.json: normalizer: precompiled_charsmap: expected replacements in UTF-8"));
}

TEST(TokenizerJson, WithoutUnknownTokenWhatIsNotKnownVanishes) {
  const auto tokenizer =
      parse_pipeline_json(R"({"model": {"vocab": [["a", -1], ["ab", -1]], "unk_id": null}})", "t");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->encode("xabya"), (std::vector<TokenId>{1, 0}));
}

TEST(TokenizerJson, OfEqualUnigramTokensTheLastCounts) {
  const auto tokenizer = parse_pipeline_json(
      R"({"model": {"vocab": [["u", 0], ["ab", -1], ["a", -1], ["b", -1], ["ab", -9]], "unk_id": 0}})",
      "t");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->encode("ab"), (std::vector<TokenId>{2, 3}));
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
  const auto read = [&](const char* name) { return contents((data / name).string()); };
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
