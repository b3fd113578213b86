#pragma once

#include <string_view>
#include <vector>

#include "text/unigram.h"

namespace gamelan::text {

/// Segmentation by byte-pair encoding with scores instead of ranks, as SentencePiece and llama2.c:
/// of all neighbours that together are a piece, those with the highest score are joined first, the
/// leftmost of equal ones. Immutable; thread-safe.
class SentencePieceBpe {
 public:
  SentencePieceBpe(const std::vector<SentencePiece>& pieces, TokenId unknown);

  /// Appends the segments of `text`, which is normalised; they point into it. O(n log n).
  void segment(std::string_view text, std::vector<Segment>& out) const;

 private:
  struct Run;
  TokenId find(std::string_view text) const;
  void emit(std::string_view text, const Run& run, std::vector<Segment>& out) const;

  ByteTrie trie_;
  ByteTrie user_defined_;
  std::vector<float> scores_;
  std::vector<bool> unused_;
  TokenId unknown_;
};

}  // namespace gamelan::text
