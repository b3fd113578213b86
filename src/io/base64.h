#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gamelan::io {

/// The bytes that `text` stands for in base64 (RFC 4648, section 4, padded); nullopt when it is
/// none.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace gamelan::io
