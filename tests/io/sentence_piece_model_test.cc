#include "io/sentence_piece_model.h"

#include <gmock/gmock.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "fuzz/parsers.h"

namespace gamelan::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string data(const std::string& name) {
  return std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/" + name;
}

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(SentencePieceModel, IdsAreTheLibrarys) {
  std::map<std::string, std::unique_ptr<text::Tokenizer>> tokenizers;
  std::ifstream lines(data("sentence_piece.jsonl"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto golden = nlohmann::json::parse(line);
    const std::string name = golden["model"];
    if (!tokenizers.contains(name)) {
      auto loaded = load_sentence_piece_tokenizer(data(name + ".model"));
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      tokenizers[name] = *std::move(loaded);
    }
    EXPECT_EQ(tokenizers[name]->encode(golden["text"].get<std::string>()),
              golden["ids"].get<std::vector<text::TokenId>>())
        << line;
  }
  EXPECT_GT(count, 500);
}

TEST(SentencePieceModel, ByteFallbackDecodesToTheSameText) {
  const auto tokenizer = load_sentence_piece_tokenizer(data("sp_bpe.model"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const std::string text :
       {"Hello,  world ", "\u4e2d\u6587 \U0001f600\u0301", " \u00a0x\ty", "<u>a<u>"}) {
    EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode(text), true), text);
  }
  const auto lone = (*tokenizer)->id_of("<0xE4>");
  ASSERT_TRUE(lone.has_value());
  EXPECT_EQ((*tokenizer)->bytes_of(*lone), "\xe4");
  EXPECT_EQ((*tokenizer)->decode(std::vector{*lone}, true), "\ufffd");
  EXPECT_EQ((*tokenizer)->bytes_of(-1), "");
  EXPECT_EQ((*tokenizer)->bytes_of(1 << 20), "");
}

TEST(SentencePieceModel, ControlSymbolsOfTheTextAreRecognised) {
  const auto tokenizer = load_sentence_piece_tokenizer(data("sp_unigram.model"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const text::TokenId control = *(*tokenizer)->id_of("<ctl>");
  EXPECT_TRUE((*tokenizer)->is_special(control));
  EXPECT_THAT((*tokenizer)->encode("<ctl></s>"), ElementsAre(control, 2));
  EXPECT_EQ((*tokenizer)->decode(std::vector{control}, false), "<ctl>");
  EXPECT_EQ((*tokenizer)->decode(std::vector{control}, true), "");
}

TEST(SentencePieceModel, BadFilesAreNamed) {
  EXPECT_THAT(std::string(parse_sentence_piece_model("nonsense", "x.model").status().message()),
              HasSubstr("x.model: expected a SentencePiece model, got 8 bytes"));
  const std::string word_model(
      "\x0a\x03\x0a\x01"
      "a"
      "\x12\x02\x18\x03",
      9);
  EXPECT_THAT(std::string(parse_sentence_piece_model(word_model, "x").status().message()),
              HasSubstr("model type 3; known are 1 (unigram) and 2 (bpe)"));
  const std::string good = contents(data("sp_unigram.model"));
  EXPECT_FALSE(parse_sentence_piece_model(good.substr(0, good.size() / 2), "cut").ok());
}

TEST(SentencePieceModel, MutationsNeverCrash) {
  std::mt19937 random(7);
  for (const char* name : {"sp_unigram.model", "sp_bpe.model"}) {
    const std::string good = contents(data(name));
    for (int round = 0; round < 60; ++round) {
      std::string bytes = good;
      for (int i = 0; i < 4; ++i) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      fuzz::sentence_piece(bytes);
    }
  }
}

}  // namespace
}  // namespace gamelan::io
