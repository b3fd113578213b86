#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gamelan::text {

using TokenId = std::int32_t;

/// Turns text into token ids and back, for models that generate. Equal to HuggingFace's tokenizer
/// of the same files, id by id. Immutable: every method is const and thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Appends the ids of `text` to `ids`. With `add_special_tokens` whatever the files say stands
  /// around a text is added (Llama's <s>); special tokens in the text itself are recognised always.
  virtual void encode_to(std::string_view text, bool add_special_tokens,
                         std::vector<TokenId>& ids) const = 0;

  /// The text of `ids`, as HuggingFace's decode with clean_up_tokenization_spaces=False: bytes that
  /// are not UTF-8 become U+FFFD; ids without a token give nothing.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const = 0;

  /// The bytes that `id` contributes to a text that it continues, without any treatment of the
  /// text's beginning; may end in the middle of a character. Empty for an id without a token.
  virtual std::string bytes_of(TokenId id) const = 0;

  /// nullopt when no token is spelled `token` (as in the vocabulary file).
  virtual std::optional<TokenId> id_of(std::string_view token) const = 0;
  /// The token as in the vocabulary file; empty for an id without one.
  virtual std::string_view token_of(TokenId id) const = 0;
  virtual bool is_special(TokenId id) const = 0;
  /// One more than the largest id.
  virtual std::int64_t vocabulary_size() const = 0;

  std::vector<TokenId> encode(std::string_view text, bool add_special_tokens = true) const {
    std::vector<TokenId> ids;
    encode_to(text, add_special_tokens, ids);
    return ids;
  }
};

}  // namespace gamelan::text
