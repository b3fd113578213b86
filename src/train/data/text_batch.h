#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace gamelan::train {

/// Where the sequences of a batch lie in packed rows. Sequence i has the slot of rows
/// [offsets[i], offsets[i+1]); its first lengths[i] rows are tokens, the rest of the slot is
/// padding. Packed batches have no padding at all: every slot is as long as its sequence.
struct PackedLayout {
  /// [n + 1], rising, from 0.
  std::vector<std::int64_t> offsets{0};
  /// [n], each at least 1 and at most its slot.
  std::vector<std::int64_t> lengths;

  std::int64_t size() const { return static_cast<std::int64_t>(lengths.size()); }
  std::int64_t rows() const { return offsets.back(); }
  std::int64_t slot(std::int64_t i) const { return offsets[i + 1] - offsets[i]; }
  /// Rows of the longest slot, 0 when there is none.
  std::int64_t longest_slot() const;
  /// All slots are equally long: the rows are a dense [size(), slot] matrix.
  bool uniform() const;
  /// Some slot holds padding.
  bool padded() const;
  /// Appends one sequence. REQUIRES: 1 <= length <= slot.
  void append(std::int64_t length, std::int64_t slot);
};

/// Texts ready for a model: the tokens of all sequences one after another.
struct TextBatch {
  PackedLayout layout;
  /// i64 [layout.rows()].
  at::Tensor input_ids;
  /// i64 [layout.rows()], 0 for the first text of a pair and 1 for the second; undefined = all 0.
  at::Tensor token_type_ids;
  /// i64 [layout.size()], the class of each sequence; undefined when they are unknown.
  at::Tensor labels;
};

/// What one sequence of a batch is made of; the memory is the caller's.
struct Sequence {
  std::span<const std::int32_t> input_ids;
  /// The first text ends here and the second begins; input_ids.size() when there is one text.
  std::size_t second_begins = 0;
  std::int64_t label = 0;
};

struct CollateOptions {
  /// Length of every slot; 0 = packed, no padding.
  std::int64_t pad_to = 0;
  /// The token in padding rows.
  std::int64_t pad_token_id = 0;
};

/// Joins sequences into a batch. Throws c10::ValueError for an empty sequence and for one longer
/// than pad_to.
TextBatch collate(std::span<const Sequence> sequences, const CollateOptions& options = {});

}  // namespace gamelan::train
