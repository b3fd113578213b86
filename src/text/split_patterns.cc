#include "text/split_patterns.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/character_classes.h"
#include "text/utf8.h"

namespace gamelan::text {
namespace {

constexpr unsigned kLetterOrNumber = kLetter | kNumber;
constexpr unsigned kNoSymbol = kLetter | kNumber | kWhiteSpace;

constexpr std::string_view kGpt2Text =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Text =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Text =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBloomText = R"( ?[^(\s|[.,!?…。，、।۔،])]+)";

constexpr std::array<std::pair<std::string_view, SplitPattern>, 4> kKnown = {{
    {kGpt2Text, SplitPattern::kGpt2},
    {kLlama3Text, SplitPattern::kLlama3},
    {kQwen2Text, SplitPattern::kQwen2},
    {kBloomText, SplitPattern::kBloom},
}};

/// A character of the text with its classes; at the end of the text of size 0 and no class.
struct Looked {
  char32_t code_point = 0;
  std::uint32_t size = 0;
  std::uint8_t classes = 0;
  bool has(unsigned any) const { return (classes & any) != 0; }
};

class Scanner {
 public:
  Scanner(const char* begin, const char* end) : table_(character_classes()), p_(begin), end_(end) {}

  Looked look(const char* p) const {
    if (p == end_) {
      return {};
    }
    const auto byte = static_cast<unsigned char>(*p);
    if (byte < 0x80) {
      return {byte, 1, table_.of(byte)};
    }
    const DecodedCharacter c = decode_utf8(p, end_);
    return {c.code_point, c.size_bytes, table_.of(c.code_point)};
  }

  /// After the run of characters from `p` that have one of `classes`, at most `most` of them.
  const char* while_in(const char* p, unsigned classes, int most = 0x7FFFFFFF) const {
    for (; most > 0; --most) {
      const Looked c = look(p);
      if (!c.has(classes)) {
        break;
      }
      p += c.size;
    }
    return p;
  }
  const char* while_not_in(const char* p, unsigned classes) const {
    for (Looked c = look(p); c.size != 0 && !c.has(classes); c = look(p)) {
      p += c.size;
    }
    return p;
  }

  /// After 's, 't, 're, 've, 'm, 'll or 'd; nullptr when there is none.
  const char* contraction(bool any_case) const {
    if (*p_ != '\'') {
      return nullptr;
    }
    const auto letter = [&](const char* p) {
      const Looked c = look(p);
      const bool upper = any_case && c.code_point >= 'A' && c.code_point <= 'Z';
      const bool long_s = any_case && c.code_point == 0x17F;
      return std::pair(long_s ? U's' : upper ? c.code_point + 32 : c.code_point, p + c.size);
    };
    const auto [first, after_first] = letter(p_ + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
      return after_first;
    }
    const auto [second, after_second] = letter(after_first);
    const bool two =
        (second == 'e' && (first == 'r' || first == 'v')) || (second == 'l' && first == 'l');
    return two ? after_second : nullptr;
  }

  /// \s+(?!\S)|\s+: a run leaves its last character to what follows, unless it is all there is.
  const char* white_space() const {
    const char* p = p_;
    const char* last = p_;
    for (Looked c = look(p); c.has(kWhiteSpace); c = look(p)) {
      last = p;
      p += c.size;
    }
    return p == end_ || last == p_ ? p : last;
  }

  const char* gpt2() const {
    if (const char* end = contraction(false)) {
      return end;
    }
    const char* const start = *p_ == ' ' ? p_ + 1 : p_;
    const Looked c = look(start);
    if (c.has(kLetter)) {
      return while_in(start + c.size, kLetter);
    }
    if (c.has(kNumber)) {
      return while_in(start + c.size, kNumber);
    }
    if (c.size != 0 && !c.has(kNoSymbol)) {
      return while_not_in(start + c.size, kNoSymbol);
    }
    return white_space();
  }

  const char* cl100k(int digits) const {
    if (const char* end = contraction(true)) {
      return end;
    }
    const Looked first = look(p_);
    if (first.has(kLetter)) {
      return while_in(p_ + first.size, kLetter);
    }
    if (!first.has(kNewline | kLetterOrNumber) && look(p_ + first.size).has(kLetter)) {
      return while_in(p_ + first.size, kLetter);
    }
    if (first.has(kNumber)) {
      return while_in(p_, kNumber, digits);
    }
    const char* const start = *p_ == ' ' ? p_ + 1 : p_;
    const Looked c = look(start);
    if (c.size != 0 && !c.has(kNoSymbol)) {
      return while_in(while_not_in(start, kNoSymbol), kNewline);
    }
    const char* after_newline = nullptr;
    const char* p = p_;
    for (Looked space = look(p); space.has(kWhiteSpace); space = look(p)) {
      p += space.size;
      after_newline = space.has(kNewline) ? p : after_newline;
    }
    return after_newline != nullptr ? after_newline : white_space();
  }

  PatternMatch bloom() const {
    const char* const start = *p_ == ' ' && !bloom_excludes(p_ + 1) ? p_ + 1 : p_;
    if (bloom_excludes(start)) {
      return {bloom_gap(), false};
    }
    const char* p = start;
    while (!bloom_excludes(p)) {
      p += look(p).size;
    }
    return {p, true};
  }

 private:
  /// Also at the end of the text.
  bool bloom_excludes(const char* p) const {
    constexpr std::u32string_view kExcluded = U"()|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C";
    const Looked c = look(p);
    return c.size == 0 || c.has(kWhiteSpace) ||
           kExcluded.find(c.code_point) != std::u32string_view::npos;
  }

  const char* bloom_gap() const {
    const char* p = p_;
    while (p != end_ && bloom_excludes(p) && !(*p == ' ' && !bloom_excludes(p + 1))) {
      p += look(p).size;
    }
    return p;
  }

  const CharacterClasses& table_;
  const char* p_;
  const char* end_;
};

}  // namespace

std::optional<SplitPattern> known_split_pattern(std::string_view pattern) {
  const auto* const found = std::find_if(kKnown.begin(), kKnown.end(),
                                         [&](const auto& known) { return known.first == pattern; });
  return found == kKnown.end() ? std::nullopt : std::optional(found->second);
}

std::string_view text_of(SplitPattern pattern) {
  const auto* const found = std::find_if(
      kKnown.begin(), kKnown.end(), [&](const auto& known) { return known.second == pattern; });
  return found->first;
}

PatternMatch next_match(SplitPattern pattern, const char* p, const char* end) {
  const Scanner scanner(p, end);
  switch (pattern) {
    case SplitPattern::kGpt2:
      return {scanner.gpt2()};
    case SplitPattern::kLlama3:
      return {scanner.cl100k(3)};
    case SplitPattern::kQwen2:
      return {scanner.cl100k(1)};
    case SplitPattern::kBloom:
      break;
  }
  return scanner.bloom();
}

}  // namespace gamelan::text
