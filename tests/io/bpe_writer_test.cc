#include "io/bpe_writer.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/count_pieces.h"
#include "io/load_tokenizer.h"
#include "tests/io/temporary_folder.h"
#include "text/bpe_trainer.h"

namespace gamelan::io {
namespace {

using nlohmann::json;

TEST(BpeWriter, WhatWasTrainedAndSavedLoads) {
  const TemporaryFolder folder;
  const std::string file = folder.write("text", "low lower\r\nlowest\nslow, below, flow");
  text::PieceCounts counts;
  const auto size = count_pieces(file, *text::make_byte_level(false, true), counts);
  ASSERT_TRUE(size.ok()) << size.status();
  EXPECT_EQ(*size, 35U);
  EXPECT_EQ(counts.entries()[2].piece, "\r\n");  // ends of lines are part of the text
  BpeFilesOptions options;
  options.bos_token = options.eos_token = "</s>";
  options.special_tokens = {"<a>", "</s>"};
  options.model_max_length = 64;
  text::BpeTrainerOptions trainer;
  trainer.vocabulary_size = 261;
  trainer.special_tokens = special_tokens_of(options);
  EXPECT_EQ(trainer.special_tokens, (std::vector<std::string>{"</s>", "<a>"}));
  const auto trained = text::train_bpe(counts, trainer);
  ASSERT_TRUE(trained.ok()) << trained.status();
  ASSERT_TRUE(save_bpe_files(folder.path(), *trained, options).ok());

  const auto tokenizer = load_tokenizer(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocabulary_size(), 261);
  const std::string text = "slowest<a> flow\n";
  const auto ids = (*tokenizer)->encode(text);
  EXPECT_EQ((*tokenizer)->decode(ids, false), text);
  EXPECT_THAT(ids, testing::Contains(1));
  EXPECT_TRUE((*tokenizer)->is_special(0));
  const json config = json::parse(folder.read("tokenizer_config.json"));
  EXPECT_EQ(config["eos_token"], "</s>");
  EXPECT_EQ(config["model_max_length"], 64);
  EXPECT_FALSE(config.contains("pad_token"));
}

TEST(BpeWriter, TokensAroundATextAndOtherPatterns) {
  const TemporaryFolder folder;
  BpeFilesOptions options;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  options.added_tokens = {"<keep>"};
  options.pattern = text::SplitPattern::kQwen2;
  options.nfc = true;
  options.add_bos_token = options.add_eos_token = true;
  text::BpeTrainerOptions trainer;
  trainer.vocabulary_size = 259;
  trainer.special_tokens = {"<s>", "</s>", "<keep>"};
  const auto trained = text::train_bpe(text::PieceCounts(), trainer);
  ASSERT_TRUE(trained.ok()) << trained.status();
  ASSERT_TRUE(save_bpe_files(folder.path(), *trained, options).ok());
  const auto tokenizer = load_tokenizer(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->encode("e\u0301<keep>");
  EXPECT_EQ(ids.size(), 5U);  // the letter is composed: two bytes
  EXPECT_EQ(ids.front(), 0);
  EXPECT_EQ(ids.back(), 1);
  EXPECT_EQ((*tokenizer)->decode(ids, true), "\u00e9<keep>");
}

TEST(BpeWriter, AMissingSpecialTokenIsNamed) {
  const TemporaryFolder folder;
  BpeFilesOptions options;
  options.pad_token = "<pad>";
  const base::Status status = save_bpe_files(folder.path(), text::BpeVocabulary(), options);
  EXPECT_THAT(std::string(base::message(status)),
              testing::HasSubstr("expected special token '<pad>' in the vocabulary"));
  EXPECT_EQ(folder.entries(), 0U);
}

}  // namespace
}  // namespace gamelan::io
