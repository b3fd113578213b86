#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/tokenizer.h"

namespace gamelan::text {

/// A piece of a SentencePiece vocabulary.
struct SentencePiece {
  /// SentencePiece's ModelProto.SentencePiece.Type.
  enum class Type {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };
  std::string text;
  float score = 0;
  Type type = Type::kNormal;
};

/// A part of a normalised text and the piece that it is; `id` is the unknown one's when none is, or
/// negative when there is no unknown one.
struct Segment {
  std::string_view text;
  TokenId id = 0;
};

/// Segmentation by a unigram language model: of all ways to cut a text into pieces the one with the
/// highest sum of scores (Kudo 2018), by Viterbi's algorithm. Character by character, a piece that
/// is not known costs 10 more than the worst score. Immutable; thread-safe.
class Unigram {
 public:
  /// As SentencePiece: pieces of type normal, user-defined and unused are looked up. Their texts
  /// may be empty or repeat: the first counts. Sums are rounded to float.
  Unigram(const std::vector<SentencePiece>& pieces, TokenId unknown);
  /// As HuggingFace's tokenizers: every token is looked up, the last of equal ones; sums are
  /// double. REQUIRES: tokens.size() == scores.size().
  Unigram(std::span<const std::string> tokens, std::span<const double> scores, TokenId unknown);

  /// Appends the segments of `text`, which is normalised; they point into it.
  void segment(std::string_view text, std::vector<Segment>& out) const;
  /// The piece that is spelled `text`; negative when there is none.
  TokenId find(std::string_view text) const;

 private:
  struct Score {
    double score = 0;
    bool user_defined = false;
    bool unused = false;
  };
  double score_of(TokenId id, std::size_t size_bytes) const;
  template <class Sum>
  void segment_as(std::string_view text, std::vector<Segment>& out) const;

  ByteTrie trie_;
  std::vector<Score> scores_;
  TokenId unknown_;
  bool double_sums_ = false;
  float highest_ = 0;
  double unknown_score_ = 0;
};

/// The pieces that text is looked up among (normal, user-defined, unused) with their ids; the first
/// of equal ones. Keys point into `pieces`.
std::vector<ByteTrie::Entry> lookup_entries(const std::vector<SentencePiece>& pieces);

}  // namespace gamelan::text
