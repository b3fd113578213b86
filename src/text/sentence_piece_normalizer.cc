#include "text/sentence_piece_normalizer.h"

#include <cstring>

#include "text/utf8.h"

namespace gamelan::text {
namespace {

// A unit of a Darts-clone double array.
constexpr std::uint32_t label_of(std::uint32_t unit) {
  return unit & ((1U << 31) | 0xFFU);
}
constexpr bool has_leaf(std::uint32_t unit) {
  return ((unit >> 8) & 1U) != 0;
}
constexpr std::uint32_t value_of(std::uint32_t unit) {
  return unit & ((1U << 31) - 1);
}
constexpr std::uint32_t offset_of(std::uint32_t unit) {
  return (unit >> 10) << ((unit & (1U << 9)) >> 6);
}

constexpr bool continues_character(char byte) {
  return (static_cast<std::uint8_t>(byte) & 0xC0U) == 0x80;
}

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

/// What stands at the start of the non-empty `text`, and the bytes it takes there.
std::pair<std::string_view, std::size_t> next_piece(const SentencePieceNormalization& spec,
                                                    const ByteTrie& kept, std::string_view text) {
  const char* const end = text.data() + text.size();
  if (const auto match = kept.longest_match(ByteTrie::kRoot, text.data(), end); match.value >= 0) {
    const auto size = static_cast<std::size_t>(match.end - text.data());
    return {text.substr(0, size), size};
  }
  if (const auto match = spec.map.longest_match(text); match.size_bytes > 0) {
    return {match.replacement, match.size_bytes};
  }
  const DecodedCharacter character = decode_utf8(text.data(), end);
  if (!character.valid) {
    return {kReplacement, character.size_bytes};
  }
  return {text.substr(0, character.size_bytes), character.size_bytes};
}

}  // namespace

base::StatusOr<PrecompiledMap> PrecompiledMap::create(std::string_view blob,
                                                      std::string_view name) {
  PrecompiledMap map;
  if (blob.empty()) {
    return map;
  }
  std::uint32_t size = 0;
  if (blob.size() > sizeof(size)) {
    std::memcpy(&size, blob.data(), sizeof(size));
  }
  if (size == 0 || size % 4 != 0 || size >= blob.size() - sizeof(size) || blob.back() != '\0') {
    return base::data_loss(
        "{}: precompiled_charsmap of {} bytes: expected a trie in whole units and replacements "
        "after it, got {} bytes of trie",
        name, blob.size(), size);
  }
  map.units_.resize(size / 4);
  std::memcpy(map.units_.data(), blob.data() + sizeof(size), size);
  map.replacements_ = blob.substr(sizeof(size) + size);
  if (!is_valid_utf8(map.replacements_)) {
    return base::data_loss("{}: precompiled_charsmap: expected replacements in UTF-8", name);
  }
  return map;
}

template <class F>
void PrecompiledMap::each_match(std::string_view text, F&& f) const {
  if (units_.empty()) {
    return;
  }
  std::uint32_t node = offset_of(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    node ^= byte;
    if (node >= units_.size() || label_of(units_[node]) != byte) {
      break;
    }
    const std::uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (has_leaf(unit) && node < units_.size()) {
      const std::uint32_t value = value_of(units_[node]);
      // Units come from a file: a wrong one may point anywhere.
      if (value < replacements_.size() && !continues_character(replacements_[value]) &&
          !f(Match{i + 1, std::string_view(replacements_.c_str() + value)})) {
        break;
      }
    }
  }
}

PrecompiledMap::Match PrecompiledMap::longest_match(std::string_view text) const {
  Match best;
  each_match(text, [&](const Match& match) {
    best = match;
    return true;
  });
  return best;
}

PrecompiledMap::Match PrecompiledMap::shortest_match(std::string_view text) const {
  Match first;
  each_match(text, [&](const Match& match) {
    first = match;
    return false;
  });
  return first;
}

void normalize_sentence(const SentencePieceNormalization& spec, const ByteTrie& kept,
                        std::string_view text, bool dummy_prefix, std::string& out) {
  if (spec.remove_extra_whitespaces) {
    while (!text.empty()) {
      const auto [piece, size] = next_piece(spec, kept, text);
      if (piece != " ") {
        break;
      }
      text.remove_prefix(size);
    }
  }
  if (text.empty()) {
    return;
  }
  const std::size_t begin = out.size();
  const std::string_view space = spec.escape_whitespaces ? kMetaSpace : " ";
  const bool with_dummy = spec.add_dummy_prefix && dummy_prefix;
  if (with_dummy && !spec.treat_whitespace_as_suffix) {
    out += space;
  }
  bool after_space = spec.remove_extra_whitespaces;
  while (!text.empty()) {
    auto [piece, size] = next_piece(spec, kept, text);
    while (after_space && piece.starts_with(' ')) {
      piece.remove_prefix(1);
    }
    for (const char c : piece) {
      c == ' ' ? void(out += space) : out.push_back(c);
    }
    if (!piece.empty()) {
      after_space = piece.ends_with(' ');
    }
    text.remove_prefix(size);
    after_space = after_space && spec.remove_extra_whitespaces;
  }
  if (spec.remove_extra_whitespaces) {
    while (out.size() > begin && std::string_view(out).substr(begin).ends_with(space)) {
      out.resize(out.size() - space.size());
    }
  }
  if (with_dummy && spec.treat_whitespace_as_suffix) {
    out += space;
  }
}

}  // namespace gamelan::text
