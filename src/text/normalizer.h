#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace gamelan::text {

class PrecompiledMap;

/// Changes a text before it is cut: a "normalizer" of tokenizer.json. Text is valid UTF-8, going in
/// and coming out. Immutable; thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::string apply(std::string_view text) const = 0;
};

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

std::unique_ptr<Normalizer> make_unicode_normalizer(UnicodeForm form);
/// Each character by itself: no final sigma.
std::unique_ptr<Normalizer> make_lowercase();
/// Removes marks (\p{M}); accents must have been decomposed before.
std::unique_ptr<Normalizer> make_strip_accents();
/// Removes white space from the ends.
std::unique_ptr<Normalizer> make_strip(bool left, bool right);
/// Every `pattern`, a literal that is not empty, becomes `content`.
std::unique_ptr<Normalizer> make_replace(std::string pattern, std::string content);
/// Every match of `regex` (text/regex.h); kInvalidArgument when it is none.
base::StatusOr<std::unique_ptr<Normalizer>> make_regex_replace(const std::string& regex,
                                                               std::string content);
/// In front of every text that is not empty.
std::unique_ptr<Normalizer> make_prepend(std::string prefix);
/// Control characters go, unusual blanks become plain ones: what SentencePiece's nmt_* rules do
/// before NFKC.
std::unique_ptr<Normalizer> make_nmt();
/// Every byte by its character of GPT-2's alphabet.
std::unique_ptr<Normalizer> make_byte_alphabet();
/// By the map of a SentencePiece model, cluster by cluster: one of less than 6 bytes that begins
/// with a source of the map becomes the replacement of the shortest one, any other goes character
/// by character. SentencePiece itself takes the longest match anywhere.
std::unique_ptr<Normalizer> make_precompiled(PrecompiledMap map);
std::unique_ptr<Normalizer> make_normalizer_sequence(
    std::vector<std::unique_ptr<Normalizer>> steps);

/// Every `pattern` in `text` by `content`.
std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content);

}  // namespace gamelan::text
