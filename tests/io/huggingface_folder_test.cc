#include "io/huggingface_folder.h"

#include <gmock/gmock.h>

#include "io/json_file.h"
#include "io/tokenizer_files.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nHello\nhello\n##s\n";

/// A minimal good tokenizer.json, for tests to break.
json good_tokenizer() {
  return json::parse(R"({"truncation": {"max_length": 2}, "padding": {"strategy": {"Fixed": 9}},
    "added_tokens": [{"id": 8, "content": "<x>", "special": false, "normalized": false,
                      "single_word": false, "lstrip": false, "rstrip": false}],
    "normalizer": {"type": "BertNormalizer", "lowercase": true, "strip_accents": null},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
      "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "Hello": 5,
                "hello": 6, "##s": 7}}})");
}

std::string error_of(const json& tokenizer) {
  const auto model = parse_tokenizer_json(tokenizer.dump(), "tokenizer.json");
  return model.ok() ? "no error" : std::string(model.status().message());
}

TEST(TokenizerFiles, VocabTxtWithItsConfig) {
  const TemporaryFolder folder;
  folder.write("vocab.txt", kVocabulary);
  auto tokenizer = load_word_piece_tokenizer(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(tokenizer->encode("Hellos"), ElementsAre(2, 6, 7, 3));
  folder.write("tokenizer_config.json",
               R"({"do_lower_case": false, "mask_token": {"content": "[MASK]"}})");
  tokenizer = load_word_piece_tokenizer(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(tokenizer->encode("Hellos"), ElementsAre(2, 5, 7, 3));
  tokenizer = load_word_piece_tokenizer(folder.file("vocab.txt"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
}

TEST(TokenizerFiles, VocabTxtLines) {
  const auto model = parse_vocab_txt("a\r\nb\n\nc", "vocab.txt");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(model->tokens, ElementsAre("a", "b", "", "c"));
  const auto error = [](std::string_view text) {
    return std::string(parse_vocab_txt(text, "vocab.txt").status().message());
  };
  EXPECT_THAT(error(""), HasSubstr("vocab.txt: expected one token a line, got an empty file"));
  EXPECT_THAT(error("a\n\xff\n"), HasSubstr("vocab.txt:2: the token is not valid UTF-8"));
  EXPECT_THAT(error("a\n" + std::string(5000, 'x')), HasSubstr("vocab.txt:2: a token of 5000"));
}

TEST(TokenizerFiles, AVocabularyWithoutSpecialTokensNamesTheFile) {
  const TemporaryFolder folder;
  const auto tokenizer = load_word_piece_tokenizer(folder.write("vocab.txt", "a\nb\n"));
  EXPECT_THAT(std::string(tokenizer.status().message()),
              HasSubstr("vocab.txt: the vocabulary of 2 tokens has no '[UNK]'"));
}

TEST(TokenizerFiles, TokenizerJsonIgnoresTruncationAndPadding) {
  const auto model = parse_tokenizer_json(good_tokenizer().dump(), "tokenizer.json");
  ASSERT_TRUE(model.ok()) << model.status();
  const auto tokenizer = text::WordPieceTokenizer::create(*model);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(tokenizer->encode("Hello hellos<x>[MASK]"), ElementsAre(2, 6, 6, 7, 8, 4, 3));
}

TEST(TokenizerFilesBadInput, TokenizerJson) {
  json broken = good_tokenizer();
  broken["model"]["type"] = "BPE";
  EXPECT_THAT(error_of(broken),
              HasSubstr("tokenizer.json: model: 'type': expected one of WordPiece"));
  broken = good_tokenizer();
  broken["model"].erase("vocab");
  EXPECT_THAT(error_of(broken), HasSubstr("'vocab' is missing"));
  broken = good_tokenizer();
  broken["model"]["vocab"]["x"] = -1;
  EXPECT_THAT(error_of(broken), HasSubstr("id of 'x'"));
  broken["model"]["vocab"]["x"] = 9'999'999;
  EXPECT_THAT(error_of(broken), HasSubstr("expected a whole number from 0 to 100008"));
  broken["model"]["vocab"]["x"] = 5;
  EXPECT_THAT(error_of(broken), HasSubstr("id 5 belongs to"));
  broken = good_tokenizer();
  broken["normalizer"]["type"] = "NFC";
  EXPECT_THAT(error_of(broken), HasSubstr("normalizer: 'type': expected one of BertNormalizer"));
  broken["normalizer"] = nullptr;
  EXPECT_THAT(error_of(broken), HasSubstr("'normalizer': expected a BertNormalizer"));
  broken = good_tokenizer();
  broken["pre_tokenizer"] = {{"type", "Whitespace"}};
  EXPECT_THAT(error_of(broken), HasSubstr("expected a BertPreTokenizer"));
  broken = good_tokenizer();
  broken["post_processor"] = nullptr;
  EXPECT_THAT(error_of(broken), HasSubstr("'post_processor': expected [CLS] text [SEP]"));
  broken["post_processor"] = {{"type", "BertProcessing"}, {"sep", 1}};
  EXPECT_THAT(error_of(broken), HasSubstr("'post_processor': expected [CLS] text [SEP]"));
  broken = good_tokenizer();
  broken["added_tokens"][0]["lstrip"] = true;
  EXPECT_THAT(error_of(broken), HasSubstr("'<x>' has lstrip = true, which is not supported"));
  broken = good_tokenizer();
  broken["added_tokens"][0]["id"] = 2;
  EXPECT_THAT(error_of(broken), HasSubstr("id 2 belongs to '[CLS]' and to '<x>'"));
  EXPECT_THAT(error_of(json::array()), HasSubstr("expected an object"));
}

TEST(HuggingFaceFolder, SavedFilesLoadAgain) {
  const TemporaryFolder folder;
  auto model = parse_tokenizer_json(good_tokenizer().dump(), "tokenizer.json");
  ASSERT_TRUE(model.ok());
  model->normalizer.strip_accents = false;
  const auto tokenizer = text::WordPieceTokenizer::create(*model);
  ASSERT_TRUE(tokenizer.ok());
  BertConfig config;
  config.vocab_size = 9;
  config.labels = {"neg", "pos"};
  ASSERT_TRUE(save_bert_folder(folder.file("new/model"), config, *tokenizer).ok());
  EXPECT_EQ(*load_bert_config_of_folder(folder.file("new/model")), config);
  EXPECT_EQ(folder.read("new/model/vocab.txt"), std::string(kVocabulary) + "<x>\n");
  for (const char* source : {"new/model", "new/model/tokenizer.json"}) {
    const auto again = load_word_piece_tokenizer(folder.file(source));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->model().tokens, tokenizer->model().tokens);
    EXPECT_EQ(again->model().normalizer, tokenizer->model().normalizer);
    EXPECT_EQ(again->encode("Hello\u00e9 <x> hellos"), tokenizer->encode("Hello\u00e9 <x> hellos"));
  }
}

}  // namespace
}  // namespace gamelan::io
