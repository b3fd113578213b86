#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace gamelan::text {

/// Turns tokens into pieces of text: a "decoder" of tokenizer.json. Immutable; thread-safe.
class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  /// Changes `tokens` in place; joined, the last step's are the text.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
  /// The bytes of one token inside a text, without what happens at the text's beginning only.
  virtual std::string inside(std::string token) const = 0;
};

std::unique_ptr<TokenDecoder> make_byte_level_decoder();
/// Runs of <0xXX> become characters, or one U+FFFD for each of a run that is no UTF-8.
std::unique_ptr<TokenDecoder> make_byte_fallback_decoder();
std::unique_ptr<TokenDecoder> make_fuse_decoder();
std::unique_ptr<TokenDecoder> make_replace_decoder(std::string pattern, std::string content);
/// Every match of `regex` (text/regex.h); kInvalidArgument when it is none.
base::StatusOr<std::unique_ptr<TokenDecoder>> make_regex_replace_decoder(const std::string& regex,
                                                                         std::string content);
/// Removes up to `start` and `stop` times `content`, one character, from the ends of every token.
std::unique_ptr<TokenDecoder> make_strip_decoder(std::string content, std::size_t start,
                                                 std::size_t stop);
std::unique_ptr<TokenDecoder> make_metaspace_decoder(std::string replacement, bool drops_first);
std::unique_ptr<TokenDecoder> make_decoder_sequence(
    std::vector<std::unique_ptr<TokenDecoder>> steps);

}  // namespace gamelan::text
