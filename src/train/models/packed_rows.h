#pragma once

#include <ATen/core/Tensor.h>

#include "train/data/text_batch.h"

namespace gamelan::train {

/// Packed rows [rows, width] to the padded matrix [size, longest slot, width], zeros behind each
/// slot. Differentiable; a view when the layout is uniform.
at::Tensor pad_rows(const at::Tensor& packed, const PackedLayout& layout);

/// The inverse: [size, longest slot, width] to [rows, width], dropping what lies behind each slot.
/// Differentiable; a view when the layout is uniform.
at::Tensor unpad_rows(const at::Tensor& padded, const PackedLayout& layout);

/// What to add to attention scores, [size, 1, 1, longest slot]: 0 on tokens, -inf on padding.
/// Undefined when no sequence has any.
at::Tensor attention_mask(const PackedLayout& layout, at::ScalarType type);

/// i64 [rows]: the position of each row within its slot.
at::Tensor position_ids(const PackedLayout& layout);

/// i64 [size]: the first row of each slot.
at::Tensor first_rows(const PackedLayout& layout);

}  // namespace gamelan::train
