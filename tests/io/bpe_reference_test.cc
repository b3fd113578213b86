// Equality with HuggingFace's tokenizers over real texts, which lie outside the project. The right
// sides were made once by the same loops over tokenizers 0.23.3 in Python: SHA-256 over the ids of
// every text, each four bytes, little-endian.

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <future>
#include <nlohmann/json.hpp>

#include "io/checksum.h"
#include "io/line_reader.h"
#include "io/mapped_file.h"
#include "io/tokenizer_json.h"
#include "tests/io/real_data.h"

namespace gamelan::io {
namespace {

struct Hashed {
  std::size_t texts = 0;
  std::size_t ids = 0;
  std::string sha256;
  bool operator==(const Hashed&) const = default;
};

void PrintTo(const Hashed& hashed, std::ostream* out) {
  *out << hashed.texts << " texts, " << hashed.ids << " ids, " << hashed.sha256;
}

/// Over the lines of `file`, or over their last field.
Hashed hash_ids(const text::Tokenizer& tokenizer, const std::filesystem::path& file,
                bool last_field = false) {
  auto lines = LineReader::open(file.string());
  EXPECT_TRUE(lines.ok()) << lines.status();
  Hashed result;
  Sha256 hash;
  std::vector<text::TokenId> ids;
  for (std::string line; *lines->next(line);) {
    const std::string_view text(line);
    ids.clear();
    tokenizer.encode_to(last_field ? text.substr(text.rfind('\t') + 1) : text, true, ids);
    hash.update(std::as_bytes(std::span(ids)));
    result.ids += ids.size();
    ++result.texts;
  }
  result.sha256 = to_hex(hash.finish());
  return result;
}

TEST(BpeReference, Gpt2OverWikitextAndImdb) {
  const auto vocab = data_path("gpt2/gpt2-vocab.json");
  SKIP_WITHOUT(vocab);
  const auto vocab_file = MappedFile::open(vocab.string());
  const auto merges_file = MappedFile::open(data_path("gpt2/gpt2-merges.txt").string());
  ASSERT_TRUE(vocab_file.ok() && merges_file.ok());
  const auto tokenizer =
      parse_vocab_and_merges(vocab_file->text(), merges_file->text(), "gpt2", "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto imdb = [&](const char* name) {
    return std::async(std::launch::async,
                      [&, name] { return hash_ids(**tokenizer, data_path(name), true); });
  };
  auto train = imdb("imdb/imdb_train.tsv.gz");
  auto test = imdb("imdb/imdb_test.tsv.gz");
  EXPECT_EQ(
      hash_ids(**tokenizer, data_path("corpora/wikitext2_valid.raw.txt")),
      (Hashed{3760, 254'899, "0aea0508805eaa2b460635677324f731111490dc4c41335f6c8b7fcfe20a70fc"}));
  EXPECT_EQ(
      hash_ids(**tokenizer, data_path("corpora/wikitext2_test.raw.txt")),
      (Hashed{4358, 291'519, "392864d81f6b144b34675c0a06dc43fb2207cce2f258d1f165a1e572fd7ef83f"}));
  EXPECT_EQ(train.get(),
            (Hashed{25'000, 7'491'839,
                    "8bb8459d26fb4132d9263f4b7d3e49653cf1c67b5b6e49b8a3a294ad843f1e4c"}));
  EXPECT_EQ(test.get(),
            (Hashed{25'000, 7'320'476,
                    "40dd467465a3bfebe9faa9d053decdf10c8d23782c1a609c1a05a7ccc9661be2"}));
}

struct Kind {
  const char* name;
  std::size_t ids;
  const char* sha256;
};

void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

class BpeReferenceKinds : public testing::TestWithParam<Kind> {};

// Every pre-tokenizer and normalizer that the golden files have, over a real text.
TEST_P(BpeReferenceKinds, OverWikitext) {
  const auto text = data_path("corpora/wikitext2_test.raw.txt");
  SKIP_WITHOUT(text);
  std::ifstream in(std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/tokenizers/" +
                   GetParam().name + ".json");
  const auto golden = nlohmann::json::parse(in);
  const auto tokenizer = parse_pipeline_json(golden["tokenizer"].dump(), GetParam().name);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(hash_ids(**tokenizer, text), (Hashed{4358, GetParam().ids, GetParam().sha256}));
}

INSTANTIATE_TEST_SUITE_P(
    All, BpeReferenceKinds,
    testing::Values(
        Kind{"gpt2", 955'822, "f1ba693fc738db2d0d0a7bc9dc9d885dc550dd374bcfe5baa9ce201fd18054d2"},
        Kind{"prefix_space", 964'636,
             "ad7708f6d33b97116ea7084d120355c001b9b65e671251b60eaa89919ec18377"},
        Kind{"llama3", 961'443, "adb7283eaa9997847dc94bb090867c17f029c986ae12bb9ee3d99946b97982c9"},
        Kind{"qwen2", 956'357, "9aeb44a879fd4e745096132da79b5dd5ebd551a988c202fee3916a3eadf6bf7d"},
        Kind{"bloom", 960'560, "8da7832f5242fe68cb9cd5caed1aaeee6a6868260a3d6576bbc48bafed0c836d"},
        Kind{"other_regex", 1'015'414,
             "d46a68fc51bfde661a2406e61ad2d257fc667d099efaade89dd4a9f9fa9af385"},
        Kind{"digits", 957'382, "d0060a4d64a85e89606e48631e9bac848ebc431a998e9d71a5781c5f9ac65a44"},
        Kind{"llama2_legacy", 940'581,
             "0101507b787448c71201d25f08ff51d268390c8464e2b4f7f847ff4e3c42bf4f"},
        Kind{"llama2", 938'198, "9cefcab53886abd08476b0e8e5982a6a090b2ee2ad86437b2edadaff69383d0f"},
        Kind{"metaspace", 988'108,
             "ddb9f3b38ffa3f1201ce82ffe386a5fbe204af0e1eabed269d48bf793c2d9537"},
        Kind{"whitespace", 944'217,
             "baf6ee817fb365f99d285456cd734e502e6170f2eeb65b2bef3ed14d7ded077a"}));

}  // namespace
}  // namespace gamelan::io
