#include "train/data/text_batch.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gamelan::train {

std::int64_t PackedLayout::longest_slot() const {
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < size(); ++i) {
    longest = std::max(longest, slot(i));
  }
  return longest;
}

bool PackedLayout::uniform() const {
  return rows() == size() * longest_slot();
}

bool PackedLayout::padded() const {
  for (std::int64_t i = 0; i < size(); ++i) {
    if (lengths[i] < slot(i)) {
      return true;
    }
  }
  return false;
}

void PackedLayout::append(std::int64_t length, std::int64_t slot) {
  offsets.push_back(offsets.back() + slot);
  lengths.push_back(length);
}

TextBatch collate(std::span<const Sequence> sequences, const CollateOptions& options) {
  TextBatch batch;
  bool pairs = false;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto length = static_cast<std::int64_t>(sequences[i].input_ids.size());
    TORCH_CHECK_VALUE(length > 0, "collate: expected at least one token, got none in sequence ", i);
    TORCH_CHECK_VALUE(options.pad_to == 0 || length <= options.pad_to, "collate: expected at most ",
                      options.pad_to, " tokens, got ", length, " in sequence ", i);
    batch.layout.append(length, options.pad_to > 0 ? options.pad_to : length);
    pairs = pairs || sequences[i].second_begins < sequences[i].input_ids.size();
  }
  const auto count = static_cast<std::int64_t>(sequences.size());
  batch.input_ids = at::full({batch.layout.rows()}, options.pad_token_id, at::kLong);
  batch.labels = at::empty({count}, at::kLong);
  if (pairs) {
    batch.token_type_ids = at::zeros({batch.layout.rows()}, at::kLong);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const Sequence& sequence = sequences[i];
    const std::int64_t row = batch.layout.offsets[i];
    std::copy(sequence.input_ids.begin(), sequence.input_ids.end(),
              batch.input_ids.data_ptr<std::int64_t>() + row);
    if (pairs) {
      std::int64_t* types = batch.token_type_ids.data_ptr<std::int64_t>() + row;
      std::fill(types + sequence.second_begins, types + sequence.input_ids.size(), 1);
    }
    batch.labels.data_ptr<std::int64_t>()[i] = sequence.label;
  }
  return batch;
}

}  // namespace gamelan::train
