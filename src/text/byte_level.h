#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace gamelan::text {

/// GPT-2's spelling of bytes by printable characters: bytes that are printable in Latin-1 stand for
/// themselves, the others, in order, for U+0100 and on (a blank is U+0120).
std::string to_byte_alphabet(std::string_view bytes);

/// The way back; nullopt when a character of `token` stands for no byte.
std::optional<std::string> from_byte_alphabet(std::string_view token);

/// The token of each byte, a negative one for a byte without.
using ByteTokens = std::array<TokenId, 256>;

/// Appends the token of every byte of `bytes`; false, and nothing, when one has none.
bool append_byte_tokens(const ByteTokens& tokens, std::string_view bytes,
                        std::vector<TokenId>& ids);

}  // namespace gamelan::text
