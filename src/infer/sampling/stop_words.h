#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace gamelan::infer {

struct StopMatch {
  /// Tokens at the end that are a whole stop word (the longest); 0 = none.
  std::size_t matched = 0;
  /// Tokens at the end that may still become one.
  std::size_t undecided = 0;
};

/// Compares the end of `generated` with each of `words`.
StopMatch match_stop_words(std::span<const std::vector<text::TokenId>> words,
                           std::span<const text::TokenId> generated);

/// The length of the longest of `words` that `next` completes after `generated`; 0 = none.
std::size_t completed_stop_word(std::span<const std::vector<text::TokenId>> words,
                                std::span<const text::TokenId> generated, text::TokenId next);

}  // namespace gamelan::infer
