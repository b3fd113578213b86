#include "io/tokenizer_export.h"

#include <gmock/gmock.h>

#include "io/llama2c.h"
#include "io/load_tokenizer.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

void append(std::string& to, const auto& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// A tokenizer.bin: the bytes, letters, and pairs whose scores are not in the order of their ids.
std::string small_tokenizer(const std::vector<std::pair<std::string, float>>& more) {
  std::vector<std::pair<std::string, float>> pieces = {
      {"<unk>", 0}, {"\n<s>\n", 0}, {"\n</s>\n", 0}};
  for (int byte = 0; byte < 256; ++byte) {
    pieces.emplace_back(fmt::format("<0x{:02X}>", byte), 0);
  }
  pieces.insert(pieces.end(), more.begin(), more.end());
  std::string bytes;
  append(bytes, std::int32_t{16});
  for (const auto& [text, score] : pieces) {
    append(bytes, score);
    append(bytes, static_cast<std::int32_t>(text.size()));
    bytes += text;
  }
  return bytes;
}

const std::vector<std::pair<std::string, float>> kPieces = {
    {" a", -5}, {"ab", -1}, {"abc", -9}, {" ab", -2}, {"bc", -3}, {"  ", -4},
    {" ", -10}, {"a", -11}, {"b", -12},  {"c", -13},  {"é", -14}, {"éa", -6}};

void expect_same_ids(const text::Tokenizer& a, const text::Tokenizer& b, const std::string& text) {
  EXPECT_EQ(a.encode(text), b.encode(text)) << "'" << text << "'";
  EXPECT_EQ(a.decode(a.encode(text), true), b.decode(b.encode(text), true)) << "'" << text << "'";
}

TEST(TokenizerExport, Llama2cGivesTheSameIds) {
  const TemporaryFolder folder;
  const std::string from = folder.write("tok8.bin", small_tokenizer(kPieces));
  const auto exported = export_tokenizer(from, folder.file("out"));
  ASSERT_TRUE(exported.ok()) << exported.status();
  EXPECT_TRUE(*exported);
  const auto before = load_tokenizer(from);
  const auto after = load_tokenizer(folder.file("out"));
  ASSERT_TRUE(before.ok() && after.ok()) << before.status() << after.status();
  EXPECT_EQ((*after)->vocabulary_size(), (*before)->vocabulary_size());
  for (const char* text :
       {"", " ", "abc", "abcab  c", "  éabc é", "xyz\n\tab", "a  b   c", "日本"}) {
    expect_same_ids(**before, **after, text);
  }
}

TEST(TokenizerExport, AFolderWithTokenizerBinAlone) {
  const TemporaryFolder folder;
  folder.write("from/tokenizer.bin", small_tokenizer(kPieces));
  ASSERT_TRUE(export_tokenizer(folder.file("from"), folder.file("out")).ok());
  EXPECT_TRUE(fs::exists(folder.file("out/tokenizer.json")));
  EXPECT_FALSE(fs::exists(folder.file("out/tokenizer.bin")));
}

TEST(TokenizerExport, WhatHuggingFaceReadsIsCopied) {
  const TemporaryFolder folder;
  folder.write("from/tokenizer.json", "{}");
  const auto exported = export_tokenizer(folder.file("from"), folder.file("out"));
  ASSERT_TRUE(exported.ok()) << exported.status();
  EXPECT_EQ(folder.read("out/tokenizer.json"), "{}");
  fs::create_directory(folder.file("none"));
  EXPECT_FALSE(*export_tokenizer(folder.file("none"), folder.file("other")));
}

TEST(TokenizerExport, TheSentencePieceModelInsideOfAGgufFile) {
  const std::string data = std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/gguf/";
  const TemporaryFolder folder;
  const auto exported = export_tokenizer(data + "llama.gguf", folder.path());
  ASSERT_TRUE(exported.ok()) << exported.status();
  ASSERT_TRUE(*exported);
  const auto before = load_tokenizer(data + "llama.gguf");
  const auto after = load_tokenizer(folder.path());
  ASSERT_TRUE(before.ok() && after.ok()) << before.status() << after.status();
  for (const char* text : {"", "Once upon a time", "  the  end ", "naïve 日本\n"}) {
    expect_same_ids(**before, **after, text);
  }
  EXPECT_FALSE(*export_tokenizer(data + "quants.gguf", folder.file("out")));  // it has none
  EXPECT_FALSE(fs::exists(folder.file("out")));
}

TEST(TokenizerExport, PiecesThatAJsonCannotTellApart) {
  const TemporaryFolder folder;
  const std::string from = folder.write("t.bin", small_tokenizer({{"x", -1}, {"x", -2}}));
  EXPECT_THAT(std::string(export_tokenizer(from, folder.file("out")).status().message()),
              HasSubstr("t.bin: tokenizer: pieces 259 and 260 are both spelled 'x'"));
  text::SentencePieceModel unigram;
  EXPECT_THAT(std::string(format_sentence_piece_json(unigram).status().message()),
              HasSubstr("expected a BPE model, got a unigram one"));
}

TEST(TokenizerExport, ARealTokenizerOverARealText) {
  const std::string data = std::string(GAMELAN_SOURCE_DIR) + "/../shared/data/";
  const std::string from = data + "stories260K/tok512.bin";
  std::ifstream text(data + "corpora/wikitext2_test.raw.txt");
  if (!fs::exists(from) || !text) {
    GTEST_SKIP() << from << " or corpora/wikitext2_test.raw.txt is not there";
  }
  const TemporaryFolder folder;
  ASSERT_TRUE(export_tokenizer(from, folder.path()).ok());
  const auto before = load_tokenizer(from);
  const auto after = load_tokenizer(folder.path());
  ASSERT_TRUE(before.ok() && after.ok()) << before.status() << after.status();
  int lines = 0;
  for (std::string line; lines < 1000 && std::getline(text, line); ++lines) {
    if (line.find("<unk>") == std::string::npos) {
      expect_same_ids(**before, **after, line);
    }
  }
  EXPECT_EQ(lines, 1000);
}

}  // namespace
}  // namespace gamelan::io
