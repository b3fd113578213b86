#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace gamelan::text {

/// Text of a growing sequence of tokens, piece by piece: what push() and finish() returned, joined,
/// is what decode() of all tokens gives, and no piece ends within a character. One thread at a
/// time.
class StreamDecoder {
 public:
  /// `tokenizer` must outlive the decoder.
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens);

  /// The text that is certain now that `id` has come; may be empty.
  std::string push(TokenId id);
  /// What was held back, with bytes that never became a character as U+FFFD.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
  std::vector<TokenId> pending_;  // not yet given out, and the tokens before them that they need
  std::size_t given_ = 0;         // bytes of pending_'s text that were given out
};

}  // namespace gamelan::text
