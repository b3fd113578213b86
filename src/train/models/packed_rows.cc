#include "train/models/packed_rows.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>
#include <limits>
#include <numeric>

namespace gamelan::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Copies the rows of every slot between their packed and their padded place.
void copy_slots(const PackedLayout& layout, const std::byte* from, std::byte* to,
                std::size_t row_bytes, bool to_padded) {
  const std::int64_t longest = layout.longest_slot();
  for (std::int64_t i = 0; i < layout.size(); ++i) {
    const std::int64_t padded_row = i * longest;
    const std::int64_t packed_row = layout.offsets[i];
    const std::size_t bytes = layout.slot(i) * row_bytes;
    std::memcpy(to + (to_padded ? padded_row : packed_row) * row_bytes,
                from + (to_padded ? packed_row : padded_row) * row_bytes, bytes);
  }
}

at::Tensor padded_copy(const at::Tensor& packed, const PackedLayout& layout) {
  const at::Tensor dense = packed.contiguous();
  at::Tensor padded =
      at::zeros({layout.size(), layout.longest_slot(), packed.size(1)}, packed.options());
  copy_slots(layout, static_cast<const std::byte*>(dense.const_data_ptr()),
             static_cast<std::byte*>(padded.mutable_data_ptr()),
             packed.size(1) * packed.element_size(), true);
  return padded;
}

at::Tensor packed_copy(const at::Tensor& padded, const PackedLayout& layout) {
  const at::Tensor dense = padded.contiguous();
  at::Tensor packed = at::empty({layout.rows(), padded.size(2)}, padded.options());
  copy_slots(layout, static_cast<const std::byte*>(dense.const_data_ptr()),
             static_cast<std::byte*>(packed.mutable_data_ptr()),
             padded.size(2) * padded.element_size(), false);
  return packed;
}

// Padding is the transpose of dropping the padding, so each one's backward is the other's forward.
struct PadRows : Function<PadRows> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& packed,
                            const PackedLayout* layout) {
    context->saved_data["offsets"] = layout->offsets;
    context->saved_data["lengths"] = layout->lengths;
    return padded_copy(packed, *layout);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const PackedLayout layout = {context->saved_data["offsets"].toIntVector(),
                                 context->saved_data["lengths"].toIntVector()};
    return {packed_copy(gradients[0], layout), at::Tensor()};
  }
};

struct UnpadRows : Function<UnpadRows> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& padded,
                            const PackedLayout* layout) {
    context->saved_data["offsets"] = layout->offsets;
    context->saved_data["lengths"] = layout->lengths;
    return packed_copy(padded, *layout);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const PackedLayout layout = {context->saved_data["offsets"].toIntVector(),
                                 context->saved_data["lengths"].toIntVector()};
    return {padded_copy(gradients[0], layout), at::Tensor()};
  }
};

}  // namespace

at::Tensor pad_rows(const at::Tensor& packed, const PackedLayout& layout) {
  return layout.uniform() ? packed.view({layout.size(), layout.longest_slot(), packed.size(1)})
                          : PadRows::apply(packed, &layout);
}

at::Tensor unpad_rows(const at::Tensor& padded, const PackedLayout& layout) {
  return layout.uniform() ? padded.reshape({layout.rows(), padded.size(2)})
                          : UnpadRows::apply(padded, &layout);
}

at::Tensor attention_mask(const PackedLayout& layout, at::ScalarType type) {
  if (layout.uniform() && !layout.padded()) {
    return {};
  }
  const std::int64_t longest = layout.longest_slot();
  at::Tensor mask = at::zeros({layout.size(), 1, 1, longest}, type);
  for (std::int64_t i = 0; i < layout.size(); ++i) {
    mask.select(0, i)
        .narrow(-1, layout.lengths[i], longest - layout.lengths[i])
        .fill_(-std::numeric_limits<float>::infinity());
  }
  return mask;
}

at::Tensor position_ids(const PackedLayout& layout) {
  at::Tensor positions = at::empty({layout.rows()}, at::kLong);
  std::int64_t* begin = positions.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < layout.size(); ++i) {
    std::iota(begin + layout.offsets[i], begin + layout.offsets[i + 1], std::int64_t{0});
  }
  return positions;
}

at::Tensor first_rows(const PackedLayout& layout) {
  at::Tensor rows = at::empty({layout.size()}, at::kLong);
  std::copy_n(layout.offsets.begin(), layout.size(), rows.mutable_data_ptr<std::int64_t>());
  return rows;
}

}  // namespace gamelan::train
