#include "text/graphemes.h"

#include <gtest/gtest.h>
#include <unicode/brkiter.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "text/utf8.h"

namespace gamelan::text {
namespace {

std::vector<std::size_t> sizes_of(std::string_view text) {
  std::vector<std::size_t> sizes;
  while (!text.empty()) {
    sizes.push_back(grapheme_size(text));
    text.remove_prefix(sizes.back());
  }
  return sizes;
}

std::vector<std::size_t> sizes_by_icu(icu::BreakIterator& breaks, const std::string& text) {
  const icu::UnicodeString wide = icu::UnicodeString::fromUTF8(text);
  breaks.setText(wide);
  std::vector<std::size_t> sizes;
  for (std::int32_t begin = 0, end = breaks.next(); end != icu::BreakIterator::DONE;
       begin = end, end = breaks.next()) {
    std::string cluster;
    wide.tempSubStringBetween(begin, end).toUTF8String(cluster);
    sizes.push_back(cluster.size());
  }
  return sizes;
}

TEST(Graphemes, Examples) {
  using Sizes = std::vector<std::size_t>;
  EXPECT_EQ(sizes_of("ab"), (Sizes{1, 1}));
  EXPECT_EQ(sizes_of("a\r\n\r\n\u0301"), (Sizes{1, 2, 2, 2}));
  EXPECT_EQ(sizes_of("e\u0301\u0302x\u00e9"), (Sizes{5, 1, 2}));
  EXPECT_EQ(sizes_of("\u1100\u1161\u11a8\uac00\u11a8"), (Sizes{9, 6}));
  EXPECT_EQ(sizes_of("\U0001F1E9\U0001F1EA\U0001F1EB"), (Sizes{8, 4}));
  EXPECT_EQ(sizes_of("\U0001F468\u200D\U0001F469a\u200D\U0001F469"), (Sizes{11, 4, 4}));
}

TEST(Graphemes, AsIcuInRandomTexts) {
  const std::vector<char32_t> pool = {
      'a',    ' ',    '\r',   '\n',   0,      0x7F,   0xA9,   0xAD,    0xE9,    0x300,   0x327,
      0x600,  0x903,  0x1100, 0x1161, 0x11A8, 0xAC00, 0xAC01, 0xA960,  0x200B,  0x200C,  0x200D,
      0x200D, 0x20E3, 0x263A, 0x2764, 0xFE0F, 0xFFFD, 0xE33,  0x1F1E6, 0x1F1FF, 0x1F3FB, 0x1F468};
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<icu::BreakIterator> breaks(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), error));
  ASSERT_TRUE(U_SUCCESS(error));
  std::mt19937 random(11);
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (int i = 0; i < 1 + round % 9; ++i) {
      append_utf8(pool[random() % pool.size()], text);
    }
    ASSERT_EQ(sizes_of(text), sizes_by_icu(*breaks, text)) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace gamelan::text
