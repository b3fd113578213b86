#include "text/word_piece_tokenizer.h"

#include <gmock/gmock.h>

#include <atomic>
#include <random>
#include <thread>

namespace gamelan::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr TokenId kPad = 0;
constexpr TokenId kUnk = 1;
constexpr TokenId kCls = 2;
constexpr TokenId kSep = 3;
constexpr TokenId kMask = 4;

WordPieceModel small_model() {
  WordPieceModel model;
  model.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able",
                  "want",  "##ed",  "a",     "b",     ",",      ".",  "'",     "s"};
  return model;
}

WordPieceTokenizer small() {
  auto tokenizer = WordPieceTokenizer::create(small_model());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::string error_of(const WordPieceModel& model) {
  const auto tokenizer = WordPieceTokenizer::create(model);
  return tokenizer.ok() ? "no error" : std::string(tokenizer.status().message());
}

EncodeOptions plain(std::size_t max_length = 0) {
  EncodeOptions options;
  options.max_length = max_length;
  options.add_special_tokens = false;
  return options;
}

TEST(WordPiece, TakesTheLongestPieces) {
  const WordPieceTokenizer tokenizer = small();
  EXPECT_THAT(tokenizer.encode("UNaffable wanted,"), ElementsAre(kCls, 5, 6, 7, 8, 9, 12, kSep));
  EXPECT_THAT(tokenizer.encode(""), ElementsAre(kCls, kSep));
}

TEST(WordPiece, OneUnknownPieceMakesTheWordUnknown) {
  EXPECT_THAT(small().encode("unaffx a unwanted"), ElementsAre(kCls, kUnk, 10, kUnk, kSep));
  EXPECT_THAT(small().encode(std::string(101, 'a')), ElementsAre(kCls, kUnk, kSep));
}

TEST(WordPiece, SpecialTokensInTheText) {
  const WordPieceTokenizer tokenizer = small();
  EXPECT_THAT(tokenizer.encode("un[MASK]able[SEP]", plain()), ElementsAre(5, kMask, kUnk, kSep));
  EXPECT_THAT(tokenizer.encode("[cls] [MASK", plain()),
              ElementsAre(kUnk, kUnk, kUnk, kUnk, kUnk));  // [ cls ] [ mask, none known
}

TEST(WordPiece, AddedTokensThatShareABeginning) {
  WordPieceModel model = small_model();
  model.tokens.insert(model.tokens.end(), {"<a>", "<a>b", "want!"});
  model.added_tokens = {"<a>", "<a>b", "want!"};
  const auto tokenizer = WordPieceTokenizer::create(model);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(tokenizer->encode("a<a>bb<a>want!wanted", plain()),
              ElementsAre(10, 17, 11, 16, 18, 8, 9));
}

TEST(WordPiece, TruncationKeepsTheSpecialTokens) {
  const WordPieceTokenizer tokenizer = small();
  EncodeOptions options;
  const std::vector<TokenId> all = tokenizer.encode("unaffable a b", options);
  ASSERT_EQ(all.size(), 7U);
  for (std::size_t length = 2; length < 10; ++length) {
    options.max_length = length;
    std::vector<TokenId> expected(all.begin(), all.end() - 1);
    expected.resize(std::min(expected.size(), length - 1));
    expected.push_back(kSep);
    EXPECT_EQ(tokenizer.encode("unaffable a b", options), expected) << length;
  }
}

TEST(WordPiece, EncodeToAppends) {
  std::vector<TokenId> ids = {77};
  small().encode_to("a", {}, ids);
  small().encode_to("b", plain(1), ids);
  EXPECT_THAT(ids, ElementsAre(77, kCls, 10, kSep, 11));
}

TEST(WordPiece, PairsAreTruncatedLongestFirst) {
  const WordPieceTokenizer tokenizer = small();
  const auto lengths = [&](std::size_t n1, std::size_t n2, std::size_t max_length) {
    std::string first;
    std::string second;
    for (std::size_t i = 0; i < n1; ++i) {
      first += "a ";
    }
    for (std::size_t i = 0; i < n2; ++i) {
      second += "b ";
    }
    EncodeOptions options;
    options.max_length = max_length;
    const Encoding pair = tokenizer.encode_pair(first, second, options);
    EXPECT_EQ(pair.ids.size(), pair.type_ids.size());
    const auto a = std::count(pair.ids.begin(), pair.ids.end(), 10);
    const auto b = std::count(pair.ids.begin(), pair.ids.end(), 11);
    EXPECT_EQ(std::count(pair.type_ids.begin(), pair.type_ids.end(), 0), a + 2);
    EXPECT_EQ(std::count(pair.type_ids.begin(), pair.type_ids.end(), 1), b + 1);
    EXPECT_EQ(pair.ids.back(), kSep);
    return std::pair(static_cast<int>(a), static_cast<int>(b));
  };
  EXPECT_EQ(lengths(3, 4, 0), std::pair(3, 4));
  EXPECT_EQ(lengths(3, 4, 10), std::pair(3, 4));
  EXPECT_EQ(lengths(2, 9, 10), std::pair(2, 5));
  EXPECT_EQ(lengths(9, 2, 10), std::pair(5, 2));
  EXPECT_EQ(lengths(8, 9, 10), std::pair(3, 4));
  EXPECT_EQ(lengths(9, 8, 10), std::pair(4, 3));
  EXPECT_EQ(lengths(9, 9, 3), std::pair(0, 0));
}

TEST(WordPiece, Decode) {
  const WordPieceTokenizer tokenizer = small();
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("unaffable, wanted.")),
            "[CLS] unaffable, wanted. [SEP]");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("unaffable a"), true), "unaffable a");
  const std::vector<TokenId> odd = {7, -1, 99, kPad, 12};
  EXPECT_EQ(tokenizer.decode(odd), "##able [PAD],");
}

TEST(WordPiece, Lookups) {
  const WordPieceTokenizer tokenizer = small();
  EXPECT_EQ(tokenizer.id_of("want"), 8);
  EXPECT_EQ(tokenizer.id_of("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.token_of(9), "##ed");
  EXPECT_EQ(tokenizer.token_of(-1), "");
  EXPECT_EQ(tokenizer.token_of(16), "");
  EXPECT_EQ(tokenizer.vocabulary_size(), 16U);
  EXPECT_EQ(tokenizer.mask_id(), kMask);
}

TEST(WordPiece, MovingKeepsItWhole) {
  WordPieceTokenizer first = small();
  const WordPieceTokenizer second = std::move(first);
  EXPECT_EQ(second.id_of("un"), 5);
  EXPECT_THAT(second.encode("unable"), ElementsAre(kCls, 5, 7, kSep));
}

TEST(WordPiece, TheLastOfTwoEqualTokensCounts) {
  WordPieceModel model = small_model();
  model.tokens.emplace_back("a");
  const auto tokenizer = WordPieceTokenizer::create(model);
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_THAT(tokenizer->encode("a", plain()), ElementsAre(16));
}

TEST(WordPieceBadInput, Models) {
  WordPieceModel model = small_model();
  model.tokens.clear();
  EXPECT_THAT(error_of(model), HasSubstr("a vocabulary has 1 to"));
  model = small_model();
  model.tokens[3] = "x";
  EXPECT_THAT(error_of(model), HasSubstr("the vocabulary of 16 tokens has no '[SEP]'"));
  model = small_model();
  model.tokens[4] = "x";
  EXPECT_EQ(error_of(model), "no error");  // [MASK] may be missing
  model = small_model();
  model.max_word_characters = 0;
  EXPECT_THAT(error_of(model), HasSubstr("max_input_chars_per_word must be 1 to 1000, got 0"));
  model.max_word_characters = 1001;
  EXPECT_THAT(error_of(model), HasSubstr("got 1001"));
  model = small_model();
  model.tokens.emplace_back(kMaxTokenBytes + 1, 'x');
  EXPECT_THAT(error_of(model), HasSubstr("token 16 has 4097 bytes"));
  model = small_model();
  model.added_tokens = {"<none>"};
  EXPECT_THAT(error_of(model), HasSubstr("has no '<none>'"));
}

TEST(WordPieceBadInput, RandomBytesNeverFail) {
  const WordPieceTokenizer tokenizer = small();
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::string text(random() % 300, '\0');
    for (char& c : text) {
      c = static_cast<char>(random());
    }
    const std::vector<TokenId> ids = tokenizer.encode(text);
    for (const TokenId id : ids) {
      ASSERT_FALSE(tokenizer.token_of(id).empty());
    }
  }
}

TEST(WordPiece, ThreadsShareOneTokenizer) {
  const WordPieceTokenizer tokenizer = small();
  const std::string text = "unaffable wanted, a \u00c9 [MASK] unable.";
  const std::vector<TokenId> expected = tokenizer.encode(text);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        if (tokenizer.encode(text) != expected) {
          wrong.fetch_add(1);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace gamelan::text
