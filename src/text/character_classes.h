#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace gamelan::text {

/// What the patterns of pre-tokenizers ask about a character.
enum CharacterClass : std::uint8_t {
  kLetter = 1,        // \p{L}
  kNumber = 2,        // \p{N}
  kWhiteSpace = 4,    // \s: the property White_Space
  kNewline = 8,       // \r and \n
  kWord = 16,         // \w: Alphabetic, M, Nd, Pc, Join_Control
  kPunctuation = 32,  // ASCII punctuation and \p{P}
  kMark = 64,         // \p{M}
};

/// The classes of every code point, in two steps of an array filled from ICU. Immutable;
/// thread-safe.
class CharacterClasses {
 public:
  CharacterClasses();

  std::uint8_t of(char32_t c) const { return blocks_[block_of_[c >> 8] * 256U + (c & 0xFFU)]; }
  bool is(char32_t c, unsigned classes) const { return (of(c) & classes) != 0; }

 private:
  std::array<std::uint16_t, 0x1100> block_of_ = {};
  std::vector<std::uint8_t> blocks_;
};

/// The one table of the process, built at first use (a few milliseconds): a constant.
const CharacterClasses& character_classes();

}  // namespace gamelan::text
