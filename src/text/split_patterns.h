#pragma once

#include <optional>
#include <string_view>

namespace gamelan::text {

/// The regular expressions that published models split text by, as hand-written scanners.
enum class SplitPattern {
  kGpt2,    // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  kLlama3,  // cl100k's: case-insensitive contractions, numbers of up to three digits
  kQwen2,   // the same with single digits
  kBloom,   //  ?[^(\s|[.,!?…。，、।۔،])]+ with its nested class read as a union
};

/// nullopt when `pattern` is none of them.
std::optional<SplitPattern> known_split_pattern(std::string_view pattern);

/// The regular expression, as tokenizer.json spells it.
std::string_view text_of(SplitPattern pattern);

struct PatternMatch {
  const char* end = nullptr;
  /// False: [p, end) is what lies between two matches.
  bool matched = true;
};

/// The match at the start of the non-empty, valid UTF-8 [p, end), or the gap before the next one.
PatternMatch next_match(SplitPattern pattern, const char* p, const char* end);

}  // namespace gamelan::text
