#include "infer/engine/lookup.h"

#include <algorithm>

namespace gamelan::infer {

void look_up(std::span<const text::TokenId> tokens, int ngram, std::int64_t count,
             std::vector<text::TokenId>& proposals) {
  proposals.clear();
  const auto length = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t n = std::min<std::int64_t>(ngram, length - 1); n > 0 && count > 0; --n) {
    const auto pattern = tokens.last(static_cast<std::size_t>(n));
    std::int64_t found = 0;  // where the tokens after it begin; 0 = nowhere
    for (std::int64_t begin = length - 1 - n; begin >= 0; --begin) {
      if (std::ranges::equal(tokens.subspan(static_cast<std::size_t>(begin), pattern.size()),
                             pattern)) {
        found = begin + n;
        if (length - found >= count) {
          break;
        }
      }
    }
    if (found > 0) {
      const auto end = std::min(found + count, length);
      proposals.assign(tokens.begin() + found, tokens.begin() + end);
      return;
    }
  }
}

}  // namespace gamelan::infer
