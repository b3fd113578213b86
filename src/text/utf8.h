#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gamelan::text {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

/// One decoded character and the bytes it took.
struct DecodedCharacter {
  char32_t code_point = 0;
  std::uint32_t size_bytes = 0;
  bool valid = true;
};

/// The character at the start of the non-empty range [begin, end). Bytes that are no UTF-8
/// (overlong, surrogate, over U+10FFFF, cut short) give U+FFFD, valid = false, for each "maximal
/// subpart" (Unicode 15, section 3.9): exactly what Python's `bytes.decode("utf-8", "replace")`
/// gives.
DecodedCharacter decode_utf8(const char* begin, const char* end);

/// Writes the UTF-8 form to `out`, which has room for 4 bytes; returns the bytes written.
std::size_t encode_utf8(char32_t code_point, char* out);
void append_utf8(char32_t code_point, std::string& out);

bool is_valid_utf8(std::string_view text);

/// `text` with every maximal invalid part replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

}  // namespace gamelan::text
