#include "text/bert_word_splitter.h"

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <vector>

#include "text/utf8.h"

namespace gamelan::text {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Collector {
  std::vector<std::string> words;
  bool word(const WordBuffer& word) {
    words.push_back(word.too_long ? "<too long>" : std::string(word.text()));
    return true;
  }
  static std::size_t added_token(const char* /*p*/, const char* /*end*/) { return 0; }
  static bool take_added_token() { return true; }
};

std::vector<std::string> split(const BertWordSplitter& splitter, std::string_view text) {
  Collector collector;
  splitter.split(text, collector);
  return collector.words;
}

class Splitter : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    uncased_ = std::make_unique<BertWordSplitter>(BertNormalizerOptions{}, 100);
    BertNormalizerOptions cased;
    cased.lowercase = false;
    cased_ = std::make_unique<BertWordSplitter>(cased, 100);
  }
  static void TearDownTestSuite() {
    uncased_.reset();
    cased_.reset();
  }
  static std::vector<std::string> uncased(std::string_view text) { return split(*uncased_, text); }
  static std::vector<std::string> cased(std::string_view text) { return split(*cased_, text); }

  static std::unique_ptr<BertWordSplitter> uncased_;
  static std::unique_ptr<BertWordSplitter> cased_;
};
std::unique_ptr<BertWordSplitter> Splitter::uncased_;
std::unique_ptr<BertWordSplitter> Splitter::cased_;

TEST_F(Splitter, Ascii) {
  EXPECT_THAT(uncased("Hello,  World!"), ElementsAre("hello", ",", "world", "!"));
  EXPECT_THAT(cased("Hello,\tWorld!\r\n"), ElementsAre("Hello", ",", "World", "!"));
  EXPECT_THAT(uncased("a$b^c`d"), ElementsAre("a", "$", "b", "^", "c", "`", "d"));
  EXPECT_THAT(uncased(""), IsEmpty());
  EXPECT_THAT(uncased(" \n "), IsEmpty());
}

TEST_F(Splitter, ControlCharactersVanishInsideWords) {
  EXPECT_THAT(uncased(std::string_view("a\0b\x07"
                                       "c\x7f"
                                       "d\xEF\xBF\xBD"
                                       "e",
                                       11)),
              ElementsAre("abcde"));
  EXPECT_THAT(uncased("x\u200by\u00adz"), ElementsAre("xyz"));
  EXPECT_THAT(uncased("a\x0b"
                      "b"),
              ElementsAre("ab"));  // white space, but a control first
}

TEST_F(Splitter, InvalidBytesVanish) {
  EXPECT_THAT(uncased("a\xff"
                      "b\xe2\x82"),
              ElementsAre("ab"));
}

TEST_F(Splitter, WhiteSpaceOfAllKinds) {
  EXPECT_THAT(uncased("a\u00a0b\u2003c\u3000d\u2028e"), ElementsAre("a", "b", "c", "d", "e"));
}

TEST_F(Splitter, AccentsGoOnlyWhenUncased) {
  EXPECT_THAT(uncased("\u00c9t\u00e9 e\u0301"), ElementsAre("ete", "e"));
  EXPECT_THAT(cased("\u00c9t\u00e9 e\u0301"), ElementsAre("\u00c9t\u00e9", "e\u0301"));
  EXPECT_THAT(uncased("\u0130\u1e9e\u03a3"), ElementsAre("i\u00df\u03c3"));
}

TEST_F(Splitter, LowerCaseWithoutStrippingAccents) {
  BertNormalizerOptions options;
  options.strip_accents = false;
  EXPECT_THAT(split(BertWordSplitter(options, 100), "\u00c9\u0130"), ElementsAre("\u00e9i\u0307"));
}

TEST_F(Splitter, IdeographsStandAlone) {
  EXPECT_THAT(uncased("ab\u4e2d\u6587cd"), ElementsAre("ab", "\u4e2d", "\u6587", "cd"));
  EXPECT_THAT(uncased("\uf900x"), ElementsAre("\u8c48", "x"));  // a compatibility ideograph
  EXPECT_THAT(uncased("\u3042\u3044"), ElementsAre("\u3042\u3044"));
  BertNormalizerOptions options;
  options.handle_chinese_chars = false;
  EXPECT_THAT(split(BertWordSplitter(options, 100), "\u4e2d\u6587"), ElementsAre("\u4e2d\u6587"));
}

TEST_F(Splitter, HangulIsDecomposed) {
  EXPECT_THAT(uncased("\uac01"), ElementsAre("\u1100\u1161\u11a8"));
  EXPECT_THAT(cased("\uac01"), ElementsAre("\uac01"));
}

TEST_F(Splitter, PunctuationMayComeOutOfADecomposition) {
  EXPECT_THAT(uncased("a\u037eb"), ElementsAre("a", ";", "b"));  // Greek question mark
  EXPECT_THAT(cased("a\u037eb"), ElementsAre("a", "\u037e", "b"));
}

TEST_F(Splitter, MarksThatStayAreReordered) {
  // U+1D165 (class 216) and U+302E (224) are spacing marks: they survive, in canonical order.
  EXPECT_THAT(uncased("a\u302e\U0001d165"), ElementsAre("a\U0001d165\u302e"));
  EXPECT_THAT(cased("a\u302e\U0001d165"), ElementsAre("a\u302e\U0001d165"));
  EXPECT_THAT(uncased("a\u302e \U0001d165"), ElementsAre("a\u302e", "\U0001d165"));
}

TEST_F(Splitter, WordsOverTheLimit) {
  EXPECT_THAT(uncased(std::string(100, 'a')), ElementsAre(std::string(100, 'a')));
  EXPECT_THAT(uncased(std::string(101, 'a') + " b"), ElementsAre("<too long>", "b"));
  std::string wide;
  for (int i = 0; i < 100; ++i) {
    append_utf8(U'\u3042', wide);
  }
  EXPECT_THAT(uncased(wide), ElementsAre(wide));
  EXPECT_THAT(uncased(wide + "x"), ElementsAre("<too long>"));
  EXPECT_THAT(uncased(wide + "\u0301!"), ElementsAre(wide, "!"));  // the mark does not count
}

/// FNV-1a over the words of "A", c, "b", U+302E, c for every character c, each word ended by '\n'.
std::uint64_t hash_of_all_characters(const BertWordSplitter& splitter) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  const auto add = [&hash](char byte) {
    hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3U;
  };
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) {
      continue;
    }
    std::string text = "A";
    append_utf8(c, text);
    text += "b\u302e";
    append_utf8(c, text);
    for (const std::string& word : split(splitter, text)) {
      for (const char byte : word) {
        add(byte);
      }
      add('\n');
    }
  }
  return hash;
}

// The right sides come from the same loop over tokenizers 0.23 in Python. A change of ICU that
// moves them needs an entry in the lists of bert_character_table.cc.
TEST_F(Splitter, EveryCharacterAsTheReference) {
  EXPECT_EQ(hash_of_all_characters(*uncased_), 0x40f55a199f8c21e1U);
  EXPECT_EQ(hash_of_all_characters(*cased_), 0x5f24718aaee5ef7dU);
}

}  // namespace
}  // namespace gamelan::text
