#include "infer/sampling/stop_words.h"

#include <algorithm>

namespace gamelan::infer {

StopMatch match_stop_words(std::span<const std::vector<text::TokenId>> words,
                           std::span<const text::TokenId> generated) {
  StopMatch match;
  for (const std::vector<text::TokenId>& word : words) {
    for (std::size_t length = std::min(word.size(), generated.size()); length > 0; --length) {
      if (!std::ranges::equal(generated.last(length), std::span(word).first(length))) {
        continue;
      }
      if (length == word.size()) {
        match.matched = std::max(match.matched, length);
        continue;  // its own beginning may repeat at its end
      }
      match.undecided = std::max(match.undecided, length);
      break;
    }
  }
  return match;
}

std::size_t completed_stop_word(std::span<const std::vector<text::TokenId>> words,
                                std::span<const text::TokenId> generated, text::TokenId next) {
  std::size_t longest = 0;
  for (const std::vector<text::TokenId>& word : words) {
    const std::size_t before = word.size() - 1;
    if (word.back() == next && before <= generated.size() &&
        std::ranges::equal(generated.last(before), std::span(word).first(before))) {
      longest = std::max(longest, word.size());
    }
  }
  return longest;
}

}  // namespace gamelan::infer
