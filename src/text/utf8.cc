#include "text/utf8.h"

#include <cstring>

namespace gamelan::text {
namespace {

/// What a lead byte announces: how many bytes follow, and the range of the first of them, which
/// rules out overlong forms, surrogates and values over U+10FFFF (Unicode 15, table 3-7).
struct Lead {
  int trailing = -1;  // -1: no lead byte
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xBF;
};

Lead classify_lead(std::uint8_t byte) {
  if (byte < 0x80) {
    return {0, 0, 0};
  }
  if (byte >= 0xC2 && byte <= 0xDF) {
    return {1};
  }
  if (byte >= 0xE0 && byte <= 0xEF) {
    return {2, static_cast<std::uint8_t>(byte == 0xE0 ? 0xA0 : 0x80),
            static_cast<std::uint8_t>(byte == 0xED ? 0x9F : 0xBF)};
  }
  if (byte >= 0xF0 && byte <= 0xF4) {
    return {3, static_cast<std::uint8_t>(byte == 0xF0 ? 0x90 : 0x80),
            static_cast<std::uint8_t>(byte == 0xF4 ? 0x8F : 0xBF)};
  }
  return {};
}

}  // namespace

DecodedCharacter decode_utf8(const char* begin, const char* end) {
  const auto first = static_cast<std::uint8_t>(*begin);
  const Lead lead = classify_lead(first);
  if (lead.trailing == 0) {
    return {first, 1, true};
  }
  if (lead.trailing < 0) {
    return {kReplacementCharacter, 1, false};
  }
  char32_t code_point = first & (0x3FU >> lead.trailing);
  std::uint8_t low = lead.low;
  std::uint8_t high = lead.high;
  for (int i = 1; i <= lead.trailing; ++i) {
    const auto byte = begin + i < end ? static_cast<std::uint8_t>(begin[i]) : std::uint8_t{0};
    if (byte < low || byte > high) {
      return {kReplacementCharacter, static_cast<std::uint32_t>(i), false};
    }
    code_point = (code_point << 6) | (byte & 0x3FU);
    low = 0x80;
    high = 0xBF;
  }
  return {code_point, static_cast<std::uint32_t>(lead.trailing + 1), true};
}

std::size_t encode_utf8(char32_t code_point, char* out) {
  const auto tail = [code_point](int shift) {
    return static_cast<char>(0x80U | ((code_point >> shift) & 0x3FU));
  };
  if (code_point < 0x80) {
    out[0] = static_cast<char>(code_point);
    return 1;
  }
  if (code_point < 0x800) {
    out[0] = static_cast<char>(0xC0U | (code_point >> 6));
    out[1] = tail(0);
    return 2;
  }
  if (code_point < 0x10000) {
    out[0] = static_cast<char>(0xE0U | (code_point >> 12));
    out[1] = tail(6);
    out[2] = tail(0);
    return 3;
  }
  out[0] = static_cast<char>(0xF0U | (code_point >> 18));
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return 4;
}

void append_utf8(char32_t code_point, std::string& out) {
  char buffer[4];
  out.append(buffer, encode_utf8(code_point, buffer));
}

bool is_valid_utf8(std::string_view text) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    // Eight ASCII characters at a time: most text is ASCII.
    std::uint64_t word = 0;
    if (end - p >= 8 && (std::memcpy(&word, p, 8), (word & 0x8080808080808080U) == 0)) {
      p += 8;
      continue;
    }
    const DecodedCharacter character = decode_utf8(p, end);
    if (!character.valid) {
      return false;
    }
    p += character.size_bytes;
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const DecodedCharacter character = decode_utf8(p, end);
    append_utf8(character.code_point, out);
    p += character.size_bytes;
  }
  return out;
}

}  // namespace gamelan::text
