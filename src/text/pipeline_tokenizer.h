#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/subword_encoder.h"
#include "text/token_decoder.h"
#include "text/tokenizer.h"

namespace gamelan::text {

/// The parts of a tokenizer, in the order that a text passes through them.
struct TokenizerParts {
  std::vector<AddedToken> added_tokens;
  std::unique_ptr<Normalizer> normalizer;       // may be empty
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // may be empty
  std::unique_ptr<SubwordEncoder> encoder;      // not empty
  /// What stands before and after a text with special tokens.
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
  std::unique_ptr<TokenDecoder> decoder;  // empty: tokens with blanks between them
  /// tokens[id], added ones included; empty for an id without a token.
  std::vector<std::string> tokens;
};

/// The tokenizer that a tokenizer.json describes, equal to HuggingFace's `tokenizers`: added tokens
/// are cut out of the text (some before, some after it is normalised), what lies between them is
/// normalised, cut into pieces and encoded. Invalid UTF-8 counts as U+FFFD. Immutable; thread-safe.
class PipelineTokenizer : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerParts parts);

  void encode_to(std::string_view text, bool add_special_tokens,
                 std::vector<TokenId>& ids) const override;
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;
  std::string bytes_of(TokenId id) const override;
  std::optional<TokenId> id_of(std::string_view token) const override;
  std::string_view token_of(TokenId id) const override;
  bool is_special(TokenId id) const override;
  std::int64_t vocabulary_size() const override {
    return static_cast<std::int64_t>(parts_.tokens.size());
  }

 private:
  class EncodeSink;
  void encode_section(std::string_view text, bool at_start, std::vector<TokenId>& ids) const;

  TokenizerParts parts_;
  AddedTokenFinder raw_;
  AddedTokenFinder normalized_;
  std::vector<bool> special_;
  absl::flat_hash_map<std::string_view, TokenId> ids_;  // keys lie in parts_.tokens
};

}  // namespace gamelan::text
