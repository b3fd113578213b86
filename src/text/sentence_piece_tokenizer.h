#pragma once

#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/status.h"
#include "text/sentence_piece_bpe.h"
#include "text/sentence_piece_normalizer.h"
#include "text/tokenizer.h"
#include "text/unigram.h"

namespace gamelan::text {

/// What a SentencePiece model consists of.
struct SentencePieceModel {
  enum class Kind { kUnigram = 1, kBpe = 2 };
  Kind kind = Kind::kUnigram;
  std::vector<SentencePiece> pieces;
  SentencePieceNormalization normalization;
  /// What is not in the vocabulary becomes its bytes, not the unknown piece.
  bool byte_fallback = false;
  TokenId unk_id = 0;
  /// Negative = none.
  TokenId bos_id = 1;
  TokenId eos_id = 2;
  /// What stands around a text when special tokens are asked for.
  bool add_bos = false;
  bool add_eos = false;
  /// Only the first part of a text that special tokens cut gets the dummy prefix (transformers:
  /// legacy=False).
  bool prefix_first_part_only = false;
};

inline constexpr std::size_t kMaxSentencePieces = 10'000'000;
inline constexpr std::size_t kMaxSentencePieceBytes = 4096;

/// The tokenizer of a SentencePiece model, and of llama2.c's tokenizer.bin. Without control symbols
/// in the text the ids are those of the sentencepiece library; control symbols that are spelled in
/// the text are recognised.
class SentencePieceTokenizer : public Tokenizer {
 public:
  /// kInvalidArgument, with `name` in the message, for a model without pieces, with an id that is
  /// no piece, without one of the 256 byte pieces that byte_fallback needs, or over the limits.
  static base::StatusOr<std::unique_ptr<Tokenizer>> create(SentencePieceModel model,
                                                           std::string_view name);

  void encode_to(std::string_view text, bool add_special_tokens,
                 std::vector<TokenId>& ids) const override;
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;
  std::string bytes_of(TokenId id) const override;
  std::optional<TokenId> id_of(std::string_view token) const override;
  std::string_view token_of(TokenId id) const override;
  bool is_special(TokenId id) const override;
  std::int64_t vocabulary_size() const override;
  const SentencePieceModel& model() const { return model_; }

 private:
  explicit SentencePieceTokenizer(SentencePieceModel model);
  base::Status index(std::string_view name);
  void encode_part(std::string_view text, bool dummy_prefix, std::vector<TokenId>& ids) const;
  bool valid(TokenId id) const;

  SentencePieceModel model_;
  std::variant<Unigram, SentencePieceBpe> segmenter_;
  ByteTrie special_;
  ByteTrie kept_;
  std::unordered_map<std::string_view, TokenId> ids_;
  std::vector<std::int16_t> byte_of_;  // of each piece; -1 = no byte piece
  std::array<TokenId, 256> byte_ids_{};
};

}  // namespace gamelan::text
