#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace gamelan::train {

/// A text as one run of tokens, cut into blocks of equal length: what a language model is trained
/// on, as HuggingFace's run_clm groups texts. Not thread-safe while it is filled; reading is.
class TokenBlocks {
 public:
  /// `block_size` tokens a block, at least 2.
  explicit TokenBlocks(std::int64_t block_size);

  /// Appends one document and, when it is not negative, `separator` behind it.
  void append(const text::Tokenizer& tokenizer, std::string_view document, text::TokenId separator);

  /// Whole blocks; what is left over at the end is in none.
  std::int64_t size() const;
  std::int64_t block_size() const { return block_size_; }
  /// Tokens in all, the left-over ones included.
  std::int64_t tokens() const { return static_cast<std::int64_t>(ids_.size()); }
  std::span<const text::TokenId> ids() const { return ids_; }

  /// i64 [indices.size(), block_size]. REQUIRES: every index is below size().
  at::Tensor batch(std::span<const std::size_t> indices) const;

 private:
  std::int64_t block_size_;
  std::vector<text::TokenId> ids_;
};

}  // namespace gamelan::train
