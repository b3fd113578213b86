#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/split_patterns.h"

namespace gamelan::text {

/// Takes the pieces of a text, one after the other.
class PieceSink {
 public:
  virtual ~PieceSink() = default;
  /// `at_start`: the piece begins the whole text. The piece is valid during the call only.
  virtual void piece(std::string_view text, bool at_start) = 0;
};

/// Cuts a text into the pieces that a model's merges stay within: a "pre_tokenizer" of
/// tokenizer.json. Text is valid UTF-8. Immutable; thread-safe.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void split(std::string_view text, bool at_start, PieceSink& sink) const = 0;
};

/// What becomes of the parts that a pattern matches; the names of tokenizer.json.
enum class SplitBehavior {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

enum class PrependScheme { kAlways, kFirst, kNever };

/// Splits at a known pattern. `invert`: what lies between the matches counts as matched.
std::unique_ptr<PreTokenizer> make_pattern_splitter(SplitPattern pattern, SplitBehavior behavior,
                                                    bool invert);
/// At a literal string.
std::unique_ptr<PreTokenizer> make_literal_splitter(std::string literal, SplitBehavior behavior,
                                                    bool invert);
/// At any other regular expression, by PCRE2 with Unicode properties. kInvalidArgument when it is
/// none. Where matching meets a limit of PCRE2's, the rest of the text counts as not matched.
base::StatusOr<std::unique_ptr<PreTokenizer>> make_regex_splitter(const std::string& regex,
                                                                  SplitBehavior behavior,
                                                                  bool invert);
/// At every character of `classes` (CharacterClass).
std::unique_ptr<PreTokenizer> make_class_splitter(unsigned classes, SplitBehavior behavior);
/// \w+|[^\w\s]+ are the pieces, white space goes.
std::unique_ptr<PreTokenizer> make_word_splitter();
/// At white space, which goes, and around every punctuation character.
std::unique_ptr<PreTokenizer> make_bert_splitter();
/// SentencePiece's: blanks become `replacement`, one is put in front, and each begins a piece when
/// `split` says so.
std::unique_ptr<PreTokenizer> make_metaspace(std::string replacement, PrependScheme scheme,
                                             bool split);
/// The part of ByteLevel that is not the model's: a blank in front of a text without one, GPT-2's
/// pattern.
std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space, bool use_regex);
/// One after the other, each on the pieces of the one before.
std::unique_ptr<PreTokenizer> make_sequence(std::vector<std::unique_ptr<PreTokenizer>> steps);

}  // namespace gamelan::text
