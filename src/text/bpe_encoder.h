#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "text/bpe_model.h"
#include "text/byte_level.h"
#include "text/subword_encoder.h"

namespace gamelan::text {

/// What tokenizer.json says of a model of type BPE.
struct BpeVocabulary {
  /// tokens[id]; an empty string is an id without a token.
  std::vector<std::string> tokens;
  /// By rank.
  std::vector<std::pair<std::string, std::string>> merges;
  /// Tokens are spelled in GPT-2's byte alphabet, pieces are plain bytes.
  bool byte_level = false;
  /// A character without a token becomes <0xXX> for each of its bytes, if all of these exist.
  bool byte_fallback = false;
  /// Unknown characters beside each other become one unk_token.
  bool fuse_unk = false;
  /// A piece that is a token becomes it, whatever merges say.
  bool ignore_merges = false;
  std::optional<std::string> unk_token;
  /// In front of every character but the first of a piece, and after the last.
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
};

/// Byte-pair encoding of pieces. A character without token, byte fallback or unk_token vanishes, as
/// in the reference. Instead of a cache it knows from the start which words come out as one token.
class BpeEncoder : public SubwordEncoder {
 public:
  /// Fails, naming the merge, when it or what it makes is not in the vocabulary.
  static base::StatusOr<std::unique_ptr<BpeEncoder>> create(BpeVocabulary vocabulary);

  void append(std::string_view piece, std::vector<TokenId>& ids) const override;

 private:
  explicit BpeEncoder(BpeVocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  base::Status index();
  base::Status index_merges();
  void index_whole_words();
  std::optional<TokenId> find(std::string_view token) const;
  void append_symbols(std::string_view piece, std::vector<TokenId>& symbols) const;

  BpeVocabulary vocabulary_;
  absl::flat_hash_map<std::string_view, TokenId> ids_;  // keys lie in vocabulary_.tokens
  std::vector<std::string> spelled_;  // tokens as bytes, of a byte-level vocabulary
  absl::flat_hash_map<std::string_view, TokenId> whole_;  // words that come out as one token
  BpeModel model_;
  ByteTokens byte_ids_ = {};  // the token of each byte, or of its <0xXX>; -1: none
  TokenId unk_ = -1;
};

}  // namespace gamelan::text
