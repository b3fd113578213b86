#include "text/character_classes.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <map>

namespace gamelan::text {
namespace {

std::uint8_t classify(UChar32 c) {
  const std::uint32_t category = U_GET_GC_MASK(c);
  const bool ascii_symbol = c > ' ' && c < 0x7F && u_isalnum(c) == 0;
  const bool alphabetic = u_hasBinaryProperty(c, UCHAR_ALPHABETIC) != 0;
  const bool joins = c == 0x200C || c == 0x200D;
  const auto in = [category](std::uint32_t mask) { return (category & mask) != 0; };
  unsigned classes = 0;
  const auto add = [&classes](bool has, CharacterClass bit) {
    classes |= has ? unsigned{bit} : 0U;
  };
  add(in(U_GC_L_MASK), kLetter);
  add(in(U_GC_N_MASK), kNumber);
  add(u_isUWhiteSpace(c) != 0, kWhiteSpace);
  add(c == '\r' || c == '\n', kNewline);
  add(in(U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK) || alphabetic || joins, kWord);
  add(ascii_symbol || in(U_GC_P_MASK), kPunctuation);
  add(in(U_GC_M_MASK), kMark);
  return static_cast<std::uint8_t>(classes);
}

}  // namespace

CharacterClasses::CharacterClasses() {
  std::map<std::array<std::uint8_t, 256>, std::uint16_t> known;
  for (std::size_t block = 0; block < block_of_.size(); ++block) {
    std::array<std::uint8_t, 256> classes = {};
    for (std::size_t i = 0; i < classes.size(); ++i) {
      classes[i] = classify(static_cast<UChar32>(block * 256 + i));
    }
    const auto [place, is_new] = known.emplace(classes, static_cast<std::uint16_t>(known.size()));
    if (is_new) {
      blocks_.insert(blocks_.end(), classes.begin(), classes.end());
    }
    block_of_[block] = place->second;
  }
}

const CharacterClasses& character_classes() {
  static const CharacterClasses table;
  return table;
}

}  // namespace gamelan::text
