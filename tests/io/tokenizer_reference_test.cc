// Equality with HuggingFace's tokenizer over real data, which lies outside the project.

#include <gmock/gmock.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "io/checksum.h"
#include "io/text_dataset.h"
#include "io/tokenizer_files.h"
#include "tests/io/real_data.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;

std::vector<text::TokenId> ids_of(const nlohmann::json& list) {
  return list.get<std::vector<text::TokenId>>();
}

TEST(TokenizerReference, EveryGoldenCase) {
  const fs::path cases = data_path("tokenizer-golden/hf_cases.jsonl");
  SKIP_WITHOUT(cases);
  for (const char* file : {"vocab.txt", "tokenizer.json"}) {
    const fs::path vocabulary = data_path("bert-base-uncased") / file;
    SKIP_WITHOUT(vocabulary);
    const auto tokenizer = load_word_piece_tokenizer(vocabulary.string());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    std::ifstream lines(cases);
    std::string line;
    int count = 0;
    while (std::getline(lines, line)) {
      const auto expected = nlohmann::json::parse(line);
      if (expected["model"] != "bert-base-uncased") {
        continue;
      }
      ++count;
      const auto ids = tokenizer->encode(expected["text"].get<std::string>());
      EXPECT_EQ(ids, ids_of(expected["ids"])) << expected["case"];
      EXPECT_EQ(tokenizer->decode(ids), expected["decoded"].get<std::string>()) << expected["case"];
    }
    EXPECT_EQ(count, 15);
  }
}

struct ImdbResult {
  std::size_t rows = 0;
  std::size_t ids = 0;
  std::string sha256;
};

/// SHA-256 over the ids of every review, [CLS] and [SEP] included, nothing cut off, each id four
/// bytes, little-endian.
ImdbResult tokenize_imdb(const fs::path& file, const text::WordPieceTokenizer& tokenizer) {
  static_assert(std::endian::native == std::endian::little);
  TextDatasetOptions options;
  options.has_header = false;
  options.columns = {.text = "3", .label = "0"};
  const auto dataset = load_text_dataset(file.string(), options);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  ImdbResult result;
  Sha256 hash;
  std::vector<text::TokenId> ids;
  for (const TextExample& example : dataset->examples) {
    ids.clear();
    tokenizer.encode_to(example.text, {}, ids);
    hash.update(std::as_bytes(std::span(ids)));
    result.ids += ids.size();
    ++result.rows;
  }
  result.sha256 = to_hex(hash.finish());
  return result;
}

// The right sides were made once by the same loop over tokenizers 0.23 in Python.
TEST(TokenizerReference, AllFiftyThousandImdbReviews) {
  const fs::path vocabulary = data_path("bert-base-uncased/vocab.txt");
  const fs::path train = data_path("imdb/imdb_train.tsv.gz");
  const fs::path test = data_path("imdb/imdb_test.tsv.gz");
  SKIP_WITHOUT(vocabulary);
  SKIP_WITHOUT(train);
  SKIP_WITHOUT(test);
  const auto tokenizer = load_word_piece_tokenizer(vocabulary.string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ImdbResult second;
  std::thread other([&] { second = tokenize_imdb(test, *tokenizer); });
  const ImdbResult first = tokenize_imdb(train, *tokenizer);
  other.join();
  EXPECT_EQ(first.rows, 25'000U);
  EXPECT_EQ(first.ids, 7'846'783U);
  EXPECT_EQ(first.sha256, "04b90937da3d8be473b047139949781f38cb7893a917e8f8690484193869bcc7");
  EXPECT_EQ(second.rows, 25'000U);
  EXPECT_EQ(second.ids, 7'669'275U);
  EXPECT_EQ(second.sha256, "a5338682ce98e443f164538bdc59a3145ad0c8e55936e0230e5f4fc13f6970ce");
}

}  // namespace
}  // namespace gamelan::io
