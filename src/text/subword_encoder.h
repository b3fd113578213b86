#pragma once

#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace gamelan::text {

/// What a tokenizer does with one piece of text: its "model". Immutable; thread-safe.
class SubwordEncoder {
 public:
  virtual ~SubwordEncoder() = default;
  /// Appends the ids of `piece`, valid UTF-8 or, in a byte-level vocabulary, any bytes.
  virtual void append(std::string_view piece, std::vector<TokenId>& ids) const = 0;
};

}  // namespace gamelan::text
