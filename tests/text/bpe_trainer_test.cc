// Equality with HuggingFace's BpeTrainer; make_bpe_golden.py made the right sides.

#include "text/bpe_trainer.h"

#include <gmock/gmock.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/status.h"

namespace gamelan::text {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// Each line with its end is a text of its own.
PieceCounts count_lines(std::string_view text, SplitPattern pattern = SplitPattern::kGpt2) {
  const auto splitter = make_pattern_splitter(pattern, SplitBehavior::kIsolated, false);
  PieceCounts counts;
  while (!text.empty()) {
    const std::size_t size = std::min(text.find('\n'), text.size() - 1) + 1;
    counts.add_text(text.substr(0, size), *splitter);
    text.remove_prefix(size);
  }
  return counts;
}

TEST(BpeTrainer, EqualsTheReference) {
  std::ifstream in(std::string(GAMELAN_SOURCE_DIR) + "/tests/text/data/bpe_training.json");
  const json golden = json::parse(in);
  const std::map<std::string, SplitPattern> patterns = {{"gpt2", SplitPattern::kGpt2},
                                                        {"llama3", SplitPattern::kLlama3},
                                                        {"qwen2", SplitPattern::kQwen2},
                                                        {"bloom", SplitPattern::kBloom}};
  for (const json& expected : golden["cases"]) {
    const std::string name = expected["name"];
    SCOPED_TRACE(name + " " + expected["vocab_size"].dump());
    BpeTrainerOptions options;
    options.vocabulary_size = expected["vocab_size"];
    options.min_frequency = expected["min_frequency"];
    options.special_tokens = expected["special_tokens"];
    options.all_bytes = expected["all_bytes"];
    const auto trained = train_bpe(
        count_lines(golden["texts"][name].get<std::string>(), patterns.at(expected["pattern"])),
        options);
    ASSERT_TRUE(trained.ok()) << trained.status();
    EXPECT_EQ(trained->tokens, expected["tokens"].get<std::vector<std::string>>());
    std::vector<std::string> merges;
    for (const auto& [left, right] : trained->merges) {
      merges.push_back(left + " " + right);
    }
    EXPECT_EQ(merges, expected["merges"].get<std::vector<std::string>>());
  }
}

TEST(BpeTrainer, WhatItTrainedEncodesTheText) {
  const std::string text = "low lower lowest newest widest low new wide\n";
  BpeTrainerOptions options;
  options.vocabulary_size = 266;
  options.min_frequency = 0;
  auto trained = train_bpe(count_lines(text), options);
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(trained->tokens.size(), 266U);
  const std::vector<std::string> tokens = trained->tokens;
  const auto encoder = BpeEncoder::create(*std::move(trained));
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  std::vector<TokenId> ids;
  (*encoder)->append(" lowest", ids);
  std::string joined;
  for (const TokenId id : ids) {
    joined += tokens[static_cast<std::size_t>(id)];
  }
  EXPECT_EQ(joined, "\u0120lowest");
  EXPECT_LT(ids.size(), 5U);
}

TEST(BpeTrainer, MinFrequencyStops) {
  BpeTrainerOptions options;
  options.vocabulary_size = 1000;
  options.min_frequency = 3;
  const auto trained = train_bpe(count_lines("ab\nab\nab\ncd\ncd\n"), options);
  ASSERT_TRUE(trained.ok()) << trained.status();
  ASSERT_EQ(trained->merges.size(), 1U);
  EXPECT_EQ(trained->merges[0], std::pair(std::string("a"), std::string("b")));
}

TEST(BpeTrainer, BadOptionsAreRefused) {
  const auto error = [](const BpeTrainerOptions& options) {
    const auto trained = train_bpe(count_lines("a b"), options);
    return trained.ok() ? "" : std::string(base::message(trained.status()));
  };
  BpeTrainerOptions options;
  options.vocabulary_size = 256;
  options.special_tokens = {"<s>"};
  EXPECT_THAT(error(options), HasSubstr("expected a vocabulary of 257 (special tokens and bytes)"));
  EXPECT_THAT(error(options), HasSubstr("got 256"));
  options.vocabulary_size = 20'000'000;
  EXPECT_THAT(error(options), HasSubstr("got 20000000"));
  options.special_tokens = {"ok", "\xff"};
  EXPECT_THAT(error(options), HasSubstr("special token 1: expected UTF-8 text, got '\uFFFD'"));
  options.special_tokens = {""};
  EXPECT_THAT(error(options), HasSubstr("special token 0: expected UTF-8 text, got ''"));
}

TEST(PieceCounts, CountsInOrderOfFirstOccurrence) {
  PieceCounts counts = count_lines("b a b\n");
  const PieceCounts moved = std::move(counts);
  ASSERT_EQ(moved.entries().size(), 4U);
  EXPECT_EQ(moved.entries()[0].piece, "b");
  EXPECT_EQ(moved.entries()[1].piece, " a");
  EXPECT_EQ(moved.entries()[2].piece, " b");
  EXPECT_EQ(moved.entries()[3].piece, "\n");
  EXPECT_EQ(moved.total(), 4);
  PieceCounts broken;
  broken.add_text("a\xff", *make_byte_level(false, true));
  EXPECT_EQ(broken.entries()[1].piece, "\uFFFD");
}

}  // namespace
}  // namespace gamelan::text
