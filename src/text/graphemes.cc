#include "text/graphemes.h"

#include <unicode/uchar.h>

#include "text/utf8.h"

namespace gamelan::text {
namespace {

/// A value of Grapheme_Cluster_Break.
std::int32_t break_property(char32_t c) {
  return u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_GRAPHEME_CLUSTER_BREAK);
}

bool is_pictograph(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_EXTENDED_PICTOGRAPHIC) != 0;
}

constexpr bool is_control(std::int32_t property) {
  return property == U_GCB_CR || property == U_GCB_LF || property == U_GCB_CONTROL;
}

/// GB6 to GB8.
constexpr bool joins_syllable(std::int32_t left, std::int32_t right) {
  switch (left) {
    case U_GCB_L:
      return right == U_GCB_L || right == U_GCB_V || right == U_GCB_LV || right == U_GCB_LVT;
    case U_GCB_LV:
    case U_GCB_V:
      return right == U_GCB_V || right == U_GCB_T;
    case U_GCB_LVT:
    case U_GCB_T:
      return right == U_GCB_T;
    default:
      return false;
  }
}

/// The rules that look at no more than two neighbours: GB3 to GB9b.
constexpr bool joins(std::int32_t left, std::int32_t right) {
  if (is_control(left) || is_control(right)) {
    return left == U_GCB_CR && right == U_GCB_LF;
  }
  return right == U_GCB_EXTEND || right == U_GCB_ZWJ || right == U_GCB_SPACING_MARK ||
         left == U_GCB_PREPEND || joins_syllable(left, right);
}

/// How far a sequence of pictographs has come (GB11).
enum class Emoji { kNone, kPictograph, kJoiner };

Emoji advance(Emoji before, char32_t c, std::int32_t property) {
  if (before == Emoji::kPictograph && property == U_GCB_EXTEND) {
    return Emoji::kPictograph;
  }
  if (before == Emoji::kPictograph && property == U_GCB_ZWJ) {
    return Emoji::kJoiner;
  }
  return is_pictograph(c) ? Emoji::kPictograph : Emoji::kNone;
}

}  // namespace

std::size_t grapheme_size(std::string_view text) {
  const auto is_ascii = [&](std::size_t i) { return static_cast<unsigned char>(text[i]) < 0x80; };
  if (text.size() == 1 || (is_ascii(0) && is_ascii(1))) {
    return text.starts_with("\r\n") ? 2 : 1;
  }
  const char* const end = text.data() + text.size();
  DecodedCharacter character = decode_utf8(text.data(), end);
  std::int32_t left = break_property(character.code_point);
  Emoji emoji = advance(Emoji::kNone, character.code_point, left);
  bool odd_indicators = left == U_GCB_REGIONAL_INDICATOR;
  std::size_t size = character.size_bytes;
  while (size < text.size()) {
    character = decode_utf8(text.data() + size, end);
    const std::int32_t right = break_property(character.code_point);
    const bool pair = odd_indicators && right == U_GCB_REGIONAL_INDICATOR;  // GB12, GB13
    const bool sequence = emoji == Emoji::kJoiner && is_pictograph(character.code_point);
    if (!joins(left, right) && !pair && !sequence) {
      break;
    }
    emoji = advance(emoji, character.code_point, right);
    odd_indicators = right == U_GCB_REGIONAL_INDICATOR && !pair;
    left = right;
    size += character.size_bytes;
  }
  return size;
}

}  // namespace gamelan::text
