#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gamelan::text {

/// GPT-2's spelling of bytes by printable characters: bytes that are printable in Latin-1 stand for
/// themselves, the others, in order, for U+0100 and on (a blank is U+0120).
std::string to_byte_alphabet(std::string_view bytes);

/// The way back; nullopt when a character of `token` stands for no byte.
std::optional<std::string> from_byte_alphabet(std::string_view token);

}  // namespace gamelan::text
