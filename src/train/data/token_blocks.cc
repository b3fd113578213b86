#include "train/data/token_blocks.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gamelan::train {

TokenBlocks::TokenBlocks(std::int64_t block_size) : block_size_(block_size) {
  TORCH_CHECK_VALUE(block_size >= 2, "expected blocks of at least 2 tokens, got ", block_size);
}

void TokenBlocks::append(const text::Tokenizer& tokenizer, std::string_view document,
                         text::TokenId separator) {
  tokenizer.encode_to(document, /*add_special_tokens=*/false, ids_);
  if (separator >= 0) {
    ids_.push_back(separator);
  }
}

std::int64_t TokenBlocks::size() const {
  return tokens() / block_size_;
}

at::Tensor TokenBlocks::batch(std::span<const std::size_t> indices) const {
  at::Tensor rows = at::empty({static_cast<std::int64_t>(indices.size()), block_size_}, at::kLong);
  auto* out = rows.mutable_data_ptr<std::int64_t>();
  for (const std::size_t index : indices) {
    const auto begin = ids_.begin() + static_cast<std::ptrdiff_t>(index) * block_size_;
    out = std::copy(begin, begin + block_size_, out);
  }
  return rows;
}

}  // namespace gamelan::train
