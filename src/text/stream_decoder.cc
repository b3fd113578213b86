#include "text/stream_decoder.h"

#include <algorithm>

namespace gamelan::text {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

/// <0x41>: what a run of such tokens stands for is not certain before the run's end.
bool is_byte_token(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with('>');
}

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

std::string StreamDecoder::push(TokenId id) {
  const std::string_view token = tokenizer_.token_of(id);
  if (token.empty() || (skip_special_tokens_ && tokenizer_.is_special(id))) {
    return "";
  }
  pending_.push_back(id);
  if (is_byte_token(token)) {
    return "";
  }
  const std::string text = tokenizer_.decode(pending_, skip_special_tokens_);
  // A last U+FFFD may be the beginning of a character.
  const bool open = std::string_view(text).ends_with(kReplacement);
  const std::size_t certain = open ? text.size() - kReplacement.size() : text.size();
  std::string piece = certain > given_ ? text.substr(given_, certain - given_) : "";
  given_ = std::max(given_, certain);
  if (!open) {
    // One token that shows is enough to keep what is special at a text's beginning away from the
    // rest.
    const std::string alone = tokenizer_.decode({&id, 1}, skip_special_tokens_);
    if (!alone.empty()) {
      pending_ = {id};
      given_ = alone.size();
    }
  }
  return piece;
}

std::string StreamDecoder::finish() {
  const std::string text = tokenizer_.decode(pending_, skip_special_tokens_);
  std::string piece = text.size() > given_ ? text.substr(given_) : "";
  pending_.clear();
  given_ = 0;
  return piece;
}

}  // namespace gamelan::text
