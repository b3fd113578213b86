#include "text/bert_character_table.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <string>

#include "base/status.h"

namespace gamelan::text {
namespace {

constexpr char32_t kCodePoints = 0x110000;
constexpr int kCategoryVersion = 8;
constexpr int kDecompositionVersion = 9;

/// Whether Unicode `version`.0 had the character.
bool existed_in(char32_t c, int version) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] != 0 && (age[0] < version || (age[0] == version && age[1] == 0));
}

bool is_one_of(char32_t c, std::initializer_list<char32_t> list) {
  return std::find(list.begin(), list.end(), c) != list.end();
}

bool has_category(char32_t c, std::uint32_t mask) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & mask) != 0 && existed_in(c, kCategoryVersion);
}

bool is_white_space(char32_t c) {
  return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0;
}

bool is_control(char32_t c) {
  return !is_one_of(c, {'\t', '\n', '\r'}) &&
         has_category(c, U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return c > ' ' && c < 0x7F && u_isalnum(static_cast<UChar32>(c)) == 0;
  }
  // Both were Po in Unicode 8.
  return has_category(c, U_GC_P_MASK) || is_one_of(c, {0x166D, 0x111C9});
}

bool is_nonspacing_mark(char32_t c) {
  if (c == 0x1734) {
    return true;  // Mn in Unicode 8, Mc today
  }
  return has_category(c, U_GC_MN_MASK) && !is_one_of(c, {0x1885, 0x1886, 0xA9BD, 0x111C9});
}

/// The reference's own ranges: U+2B820..2B91F of extension E are missing there too.
bool is_cjk(char32_t c) {
  const auto in = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  return in(0x4E00, 0x9FFF) || in(0x3400, 0x4DBF) || in(0x20000, 0x2A6DF) || in(0x2A700, 0x2B81F) ||
         in(0x2B920, 0x2CEAF) || in(0xF900, 0xFAFF) || in(0x2F800, 0x2FA1F);
}

/// Capitals of Unicode 16 and 17, which an older ICU does not know.
char32_t to_lower_newer(char32_t c) {
  if (c >= 0x10D50 && c <= 0x10D65) {
    return c + 0x20;
  }
  if (c >= 0x16EA0 && c <= 0x16EB8) {
    return c + 0x1B;
  }
  if (is_one_of(c, {0x1C89, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA})) {
    return c + 1;
  }
  return c == 0xA7CB ? 0x264 : c == 0xA7DC ? 0x19B : c;
}

std::uint8_t combining_class(char32_t c) {
  return existed_in(c, kDecompositionVersion) ? u_getCombiningClass(static_cast<UChar32>(c)) : 0;
}

/// Full canonical decomposition; the character itself when it has none.
std::u32string decompose(char32_t c) {
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* nfd = unorm2_getNFDInstance(&error);
  GAMELAN_CHECK(U_SUCCESS(error), "ICU has its NFD data: {}", u_errorName(error));
  if (unorm2_isInert(nfd, static_cast<UChar32>(c)) || !existed_in(c, kDecompositionVersion)) {
    return std::u32string(1, c);
  }
  constexpr int kLongest = 64;  // Unicode's longest canonical decomposition has 4 characters
  UChar units[kLongest];
  const std::int32_t length =
      unorm2_getDecomposition(nfd, static_cast<UChar32>(c), units, kLongest, &error);
  if (length < 0 || U_FAILURE(error)) {
    return std::u32string(1, c);
  }
  std::u32string result;
  for (std::int32_t i = 0; i < length;) {
    UChar32 next = 0;
    U16_NEXT(units, i, length, next);
    result += static_cast<char32_t>(next);
  }
  return result;
}

void append_lower(char32_t c, std::u32string& out) {
  if (c == 0x130) {
    out += U"i\u0307";  // the one unconditional special casing
    return;
  }
  const auto lower = static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
  out += lower == c ? to_lower_newer(c) : lower;
}

using Action = BertCharacterTable::Action;
using Entry = BertCharacterTable::Entry;

static_assert(static_cast<int>(Action::kKeep) == 0, "entries of empty planes are zero");

Entry make(Action action, std::uint32_t index, std::uint8_t ccc) {
  return {static_cast<std::uint32_t>(action) | (index << 3) |
          (static_cast<std::uint32_t>(ccc) << 24)};
}

/// How a character that has been through the normaliser splits words.
Action split_action(char32_t c) {
  return is_white_space(c) ? Action::kSpace : is_punctuation(c) ? Action::kIsolate : Action::kKeep;
}

bool is_surrogate(char32_t c) {
  return c >= 0xD800 && c < 0xE000;
}

}  // namespace

BertCharacterTable::BertCharacterTable(const BertNormalizerOptions& options) {
  std::map<std::vector<std::uint32_t>, std::uint16_t> known;
  std::vector<std::uint32_t> block(256);
  for (char32_t first = 0; first < kCodePoints; first += 256) {
    for (char32_t i = 0; i < 256; ++i) {
      // Planes 4 to 13 hold no character, which is known without asking 655,360 times.
      const bool assigned_plane = first < 0x40000 || first >= 0xE0000;
      block[i] = assigned_plane ? make_entry(first + i, options).bits : 0;
    }
    const auto [place, is_new] =
        known.emplace(block, static_cast<std::uint16_t>(blocks_.size() / 256));
    if (is_new) {
      for (const std::uint32_t bits : block) {
        blocks_.push_back({bits});
      }
    }
    block_of_[first >> 8] = place->second;
  }
}

BertCharacterTable::Entry BertCharacterTable::make_entry(char32_t c,
                                                         const BertNormalizerOptions& options) {
  // Most code points are unassigned: no more questions than needed for those.
  const bool unassigned = u_charType(static_cast<UChar32>(c)) == U_UNASSIGNED;
  if (unassigned && to_lower_newer(c) == c && !is_cjk(c)) {
    return make(Action::kKeep, 0, 0);
  }
  if (is_surrogate(c)) {
    return make(Action::kDrop, 0, 0);  // cannot be written in UTF-8
  }
  if (options.clean_text && (c == 0 || c == 0xFFFD || is_control(c))) {
    return make(Action::kDrop, 0, 0);
  }
  if (is_white_space(c)) {
    return make(Action::kSpace, 0, 0);  // white space decomposes to white space only
  }
  return make_mapping(c, options, options.handle_chinese_chars && is_cjk(c));
}

BertCharacterTable::Entry BertCharacterTable::make_mapping(char32_t c,
                                                           const BertNormalizerOptions& options,
                                                           bool isolate) {
  const bool strip = options.strips_accents();
  const std::u32string parts = strip ? decompose(c) : std::u32string(1, c);
  std::u32string result;
  std::uint8_t lowest_class = strip ? 0xFF : 0;
  for (const char32_t part : parts) {
    if (strip) {
      lowest_class = std::min(lowest_class, combining_class(part));
    }
    if (strip && is_nonspacing_mark(part)) {
      continue;
    }
    if (options.lowercase) {
      append_lower(part, result);
    } else {
      result += part;
    }
  }
  if (result.empty()) {
    return make(Action::kDropMark, 0, lowest_class);
  }
  if (result.size() == 1 && result[0] == c) {
    return make(isolate ? Action::kIsolate : split_action(c), 0, lowest_class);
  }
  const auto index = static_cast<std::uint32_t>(ranges_.size());
  ranges_.push_back({static_cast<std::uint32_t>(pool_.size()),
                     static_cast<std::uint16_t>(result.size()), isolate});
  for (const char32_t part : result) {
    pool_.push_back({part, split_action(part), strip ? combining_class(part) : std::uint8_t{0}});
  }
  return make(Action::kMap, index, 0);
}

}  // namespace gamelan::text
