#include "text/utf8.h"

#include <gtest/gtest.h>

namespace gamelan::text {
namespace {

constexpr const char* kFffd = "\xEF\xBF\xBD";

std::string fffd(int times) {
  std::string text;
  for (int i = 0; i < times; ++i) {
    text += kFffd;
  }
  return text;
}

TEST(Utf8, EveryCharacterSurvivesTheRoundTrip) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) {
      continue;
    }
    char bytes[4];
    const std::size_t size = encode_utf8(c, bytes);
    const DecodedCharacter decoded = decode_utf8(bytes, bytes + size);
    ASSERT_TRUE(decoded.valid) << static_cast<std::uint32_t>(c);
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(decoded.size_bytes, size);
  }
}

TEST(Utf8, InvalidBytesBecomeWhatPythonMakesOfThem) {
  // Each right side is len(left.decode("utf-8", "replace")) replacement characters.
  EXPECT_EQ(replace_invalid_utf8("\x80"), fffd(1));
  EXPECT_EQ(replace_invalid_utf8("\xC0\x80"), fffd(2));          // overlong
  EXPECT_EQ(replace_invalid_utf8("\xE0\x80\x80"), fffd(3));      // overlong
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), fffd(3));      // surrogate
  EXPECT_EQ(replace_invalid_utf8("\xF4\x90\x80\x80"), fffd(4));  // over U+10FFFF
  EXPECT_EQ(replace_invalid_utf8("\xF5\xFF"), fffd(2));
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82"), fffd(1));  // cut short: one maximal part
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x98"), fffd(1));
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x98x"), fffd(1) + "x");
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82\xE2\x82\xAC"), fffd(1) + "\xE2\x82\xAC");
  EXPECT_EQ(replace_invalid_utf8("a\xFFz"), "a" + fffd(1) + "z");
}

TEST(Utf8, Validity) {
  EXPECT_TRUE(is_valid_utf8(""));
  EXPECT_TRUE(is_valid_utf8("\u00e9\U0001F600"));
  EXPECT_FALSE(is_valid_utf8("\xED\xA0\x80"));
  EXPECT_FALSE(is_valid_utf8("abc\xE2\x82"));
}

}  // namespace
}  // namespace gamelan::text
