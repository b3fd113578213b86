#include "text/added_tokens.h"

#include <algorithm>
#include <unordered_set>

#include "text/character_classes.h"
#include "text/utf8.h"

namespace gamelan::text {
namespace {

bool first_is(std::string_view text, unsigned classes) {
  return !text.empty() &&
         character_classes().is(decode_utf8(text.data(), text.data() + text.size()).code_point,
                                classes);
}

/// The bytes of the last character of valid, non-empty UTF-8.
std::size_t last_size(std::string_view text) {
  std::size_t size = 1;
  while (size < text.size() &&
         (static_cast<unsigned char>(text[text.size() - size]) & 0xC0U) == 0x80) {
    ++size;
  }
  return size;
}

bool last_is(std::string_view text, unsigned classes) {
  return !text.empty() && first_is(text.substr(text.size() - last_size(text)), classes);
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::vector<ByteTrie::Entry> entries;
  std::unordered_set<std::string_view> known;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    if (!content.empty() && known.insert(content).second) {
      entries.push_back({content, static_cast<std::int32_t>(i)});
      starts_[static_cast<std::uint8_t>(content.front())] = true;
    }
  }
  trie_ = ByteTrie(entries);
}

AddedTokenFinder::Place AddedTokenFinder::next(std::string_view text, std::size_t from,
                                               std::size_t given) const {
  const char* const end = text.data() + text.size();
  for (const char* p = text.data() + from; p != end; ++p) {
    if (!starts_[static_cast<std::uint8_t>(*p)]) {
      continue;
    }
    const ByteTrie::Match match = trie_.longest_match(ByteTrie::kRoot, p, end);
    if (match.value < 0) {
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(match.value)];
    Place place;
    place.begin = static_cast<std::size_t>(p - text.data());
    place.match_end = static_cast<std::size_t>(match.end - text.data());
    place.end = place.match_end;
    if (token.single_word &&
        (last_is(text.substr(0, place.begin), kWord) || first_is(text.substr(place.end), kWord))) {
      p = match.end - 1;
      continue;
    }
    while (token.lstrip && place.begin > given &&
           last_is(text.substr(0, place.begin), kWhiteSpace)) {
      place.begin -= last_size(text.substr(0, place.begin));
    }
    while (token.rstrip && first_is(text.substr(place.end), kWhiteSpace)) {
      place.end += decode_utf8(text.data() + place.end, end).size_bytes;
    }
    place.begin = std::max(place.begin, given);
    place.token = &token;
    return place;
  }
  return {};
}

}  // namespace gamelan::text
