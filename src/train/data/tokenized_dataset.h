#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "text/word_piece_tokenizer.h"
#include "train/data/text_batch.h"

namespace gamelan::train {

/// Labelled texts as token ids, packed into one array. Not thread-safe while it is filled; reading
/// is.
class TokenizedDataset {
 public:
  /// `max_length` tokens of each text are kept, special ones included (0 = all of them).
  TokenizedDataset(const text::WordPieceTokenizer& tokenizer, std::size_t max_length);

  /// Tokenizes one text, or two, and appends it. The tokenizer must outlive the last append.
  void append(std::string_view text, std::optional<std::string_view> second, std::int64_t label);

  std::int64_t size() const { return static_cast<std::int64_t>(labels_.size()); }
  /// Tokens of all samples.
  std::int64_t tokens() const { return static_cast<std::int64_t>(ids_.size()); }
  /// Tokens of sample `i`.
  std::int64_t length(std::int64_t i) const { return offsets_[i + 1] - offsets_[i]; }
  std::vector<std::int64_t> lengths() const;
  /// Valid until the next append. REQUIRES: 0 <= i < size().
  Sequence sequence(std::int64_t i) const;
  const std::vector<std::int64_t>& labels() const { return labels_; }

  TextBatch batch(std::span<const std::size_t> indices, const CollateOptions& options) const;

 private:
  const text::WordPieceTokenizer* tokenizer_;
  text::EncodeOptions encode_;
  std::vector<std::int32_t> ids_;
  std::vector<std::int64_t> offsets_{0};
  std::vector<std::int64_t> second_begins_;
  std::vector<std::int64_t> labels_;
};

}  // namespace gamelan::train
