#include "text/byte_level.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "text/utf8.h"

namespace gamelan::text {
namespace {

constexpr char32_t kShift = 0x100;

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> of_byte = {};
  std::array<std::int16_t, 2 * kShift> to_byte = {};  // -1: none
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.to_byte) {
    byte = -1;
  }
  char32_t next = kShift;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char32_t c = stands_for_itself(byte) ? byte : next++;
    alphabet.of_byte[byte] = c;
    alphabet.to_byte[c] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  std::string token;
  for (const char byte : bytes) {
    append_utf8(kAlphabet.of_byte[static_cast<std::uint8_t>(byte)], token);
  }
  return token;
}

std::optional<std::string> from_byte_alphabet(std::string_view token) {
  std::string bytes;
  const char* const end = token.data() + token.size();
  for (const char* p = token.data(); p != end;) {
    const DecodedCharacter c = decode_utf8(p, end);
    if (c.code_point >= kAlphabet.to_byte.size() || kAlphabet.to_byte[c.code_point] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(kAlphabet.to_byte[c.code_point]));
    p += c.size_bytes;
  }
  return bytes;
}

bool append_byte_tokens(const ByteTokens& tokens, std::string_view bytes,
                        std::vector<TokenId>& ids) {
  const auto token_of = [&](char byte) { return tokens[static_cast<std::uint8_t>(byte)]; };
  if (std::any_of(bytes.begin(), bytes.end(), [&](char byte) { return token_of(byte) < 0; })) {
    return false;
  }
  std::transform(bytes.begin(), bytes.end(), std::back_inserter(ids), token_of);
  return true;
}

}  // namespace gamelan::text
