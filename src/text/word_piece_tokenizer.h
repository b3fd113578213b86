#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "text/bert_character_table.h"
#include "text/bert_word_splitter.h"
#include "text/byte_trie.h"
#include "text/tokenizer.h"

namespace gamelan::text {

/// Everything a WordPiece tokenizer is made of; what vocab.txt or tokenizer.json say.
struct WordPieceModel {
  /// tokens[id]; an empty string is an id without a token. Later duplicates win, as in the
  /// reference.
  std::vector<std::string> tokens;
  BertNormalizerOptions normalizer;
  std::string unk_token = "[UNK]";
  std::string cls_token = "[CLS]";
  std::string sep_token = "[SEP]";
  std::string pad_token = "[PAD]";
  std::string mask_token = "[MASK]";  // may be missing from `tokens`
  /// In front of every piece of a word but its first.
  std::string continuing_prefix = "##";
  /// Longer words are unknown; at most kMaxWordCharacters.
  std::size_t max_word_characters = 100;
  /// Tokens besides the five above that are found in raw text before it is normalised.
  std::vector<std::string> added_tokens;
};

struct EncodeOptions {
  /// Ids in the result, special ones included; what is over is cut off at the right, of two texts
  /// from the longer one first. The special tokens stay even when the limit is too small for them.
  /// 0 = no limit.
  std::size_t max_length = 0;
  /// [CLS] text [SEP], or [CLS] text [SEP] second [SEP].
  bool add_special_tokens = true;
};

struct Encoding {
  std::vector<TokenId> ids;
  /// 0 for the first text and its special tokens, 1 for the second. As long as `ids`.
  std::vector<TokenId> type_ids;
};

/// BERT's tokenizer, equal to HuggingFace's fast BertTokenizer id by id: BertNormalizer,
/// BertPreTokenizer, greedy longest match first. Invalid UTF-8 counts as U+FFFD, as Python's
/// `errors="replace"` reads it. Immutable: every method is const and thread-safe.
class WordPieceTokenizer {
 public:
  /// Fails when a special token (other than [MASK]) is not in the vocabulary, the vocabulary is
  /// empty or over the limits of docs/limits.md, or an option is out of range.
  static base::StatusOr<WordPieceTokenizer> create(WordPieceModel model);

  WordPieceTokenizer(WordPieceTokenizer&&) = default;
  WordPieceTokenizer& operator=(WordPieceTokenizer&&) = default;

  /// The ids of one text.
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// Appends the same ids to `ids` instead of making a new vector; with enough capacity nothing is
  /// allocated. Reading stops where truncation would begin.
  void encode_to(std::string_view text, const EncodeOptions& options,
                 std::vector<TokenId>& ids) const;

  /// Two texts, truncated "longest first".
  Encoding encode_pair(std::string_view first, std::string_view second,
                       const EncodeOptions& options = {}) const;

  /// The text of `ids` with pieces joined and blanks before punctuation removed, as HuggingFace's
  /// decode; unknown ids are left out.
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens = false) const;

  /// nullopt when `token` is not in the vocabulary.
  std::optional<TokenId> id_of(std::string_view token) const;
  /// Empty for an id without a token.
  std::string_view token_of(TokenId id) const;
  std::size_t vocabulary_size() const { return model_.tokens.size(); }

  TokenId unk_id() const { return unk_; }
  TokenId cls_id() const { return cls_; }
  TokenId sep_id() const { return sep_; }
  TokenId pad_id() const { return pad_; }
  std::optional<TokenId> mask_id() const { return mask_; }
  const WordPieceModel& model() const { return model_; }

 private:
  struct AddedToken {
    std::string text;
    TokenId id = 0;
  };
  class Sink;

  explicit WordPieceTokenizer(WordPieceModel model);
  base::Status check_and_index();
  base::Status find_special(const std::string& token, TokenId& id) const;
  base::Status add_token_of_text(const std::string& token);
  bool is_special(TokenId id) const;
  void append_pieces(std::string_view word, std::vector<TokenId>& ids) const;
  void append_text(std::string_view text, std::size_t limit, std::vector<TokenId>& ids) const;

  WordPieceModel model_;
  BertWordSplitter splitter_;
  ByteTrie pieces_;
  ByteTrie::State continuing_ = ByteTrie::kNowhere;
  std::unordered_map<std::string_view, TokenId> ids_;  // keys lie in model_.tokens
  std::vector<AddedToken> added_;                      // the longest first
  TokenId unk_ = 0;
  TokenId cls_ = 0;
  TokenId sep_ = 0;
  TokenId pad_ = 0;
  std::optional<TokenId> mask_;
};

/// The most entries a vocabulary may have, and the most bytes one of its tokens.
inline constexpr std::size_t kMaxVocabularySize = 10'000'000;
inline constexpr std::size_t kMaxTokenBytes = 4096;

}  // namespace gamelan::text
