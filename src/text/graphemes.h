#pragma once

#include <cstddef>
#include <string_view>

namespace gamelan::text {

/// Bytes of the extended grapheme cluster (UAX #29) that the valid, non-empty UTF-8 `text` starts
/// with, by the properties of the installed ICU. Rule GB9c, of conjuncts, is left out: their parts
/// are clusters of their own.
std::size_t grapheme_size(std::string_view text);

}  // namespace gamelan::text
