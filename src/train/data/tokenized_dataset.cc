#include "train/data/tokenized_dataset.h"

#include <algorithm>

namespace gamelan::train {

TokenizedDataset::TokenizedDataset(const text::WordPieceTokenizer& tokenizer,
                                   std::size_t max_length)
    : tokenizer_(&tokenizer) {
  encode_.max_length = max_length;
}

void TokenizedDataset::append(std::string_view text, std::optional<std::string_view> second,
                              std::int64_t label) {
  const std::size_t before = ids_.size();
  if (second) {
    const text::Encoding pair = tokenizer_->encode_pair(text, *second, encode_);
    ids_.insert(ids_.end(), pair.ids.begin(), pair.ids.end());
    second_begins_.push_back(std::find(pair.type_ids.begin(), pair.type_ids.end(), 1) -
                             pair.type_ids.begin());
  } else {
    tokenizer_->encode_to(text, encode_, ids_);
    second_begins_.push_back(static_cast<std::int64_t>(ids_.size() - before));
  }
  offsets_.push_back(static_cast<std::int64_t>(ids_.size()));
  labels_.push_back(label);
}

std::vector<std::int64_t> TokenizedDataset::lengths() const {
  std::vector<std::int64_t> lengths(labels_.size());
  for (std::int64_t i = 0; i < size(); ++i) {
    lengths[i] = length(i);
  }
  return lengths;
}

Sequence TokenizedDataset::sequence(std::int64_t i) const {
  return {.input_ids = std::span(ids_).subspan(offsets_[i], length(i)),
          .second_begins = static_cast<std::size_t>(second_begins_[i]),
          .label = labels_[i]};
}

TextBatch TokenizedDataset::batch(std::span<const std::size_t> indices,
                                  const CollateOptions& options) const {
  std::vector<Sequence> sequences;
  sequences.reserve(indices.size());
  for (const std::size_t index : indices) {
    sequences.push_back(sequence(static_cast<std::int64_t>(index)));
  }
  return collate(sequences, options);
}

}  // namespace gamelan::train
