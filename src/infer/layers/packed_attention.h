#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include "infer/layers/block.h"
#include "kernels/context.h"
#include "kernels/cpu/attention.h"

namespace gamelan::infer {

/// The attention of an encoder over the sequences of one batch.
class PackedAttention final : public LayerAttention {
 public:
  PackedAttention(const kernels::Context& context, std::span<const std::int64_t> offsets,
                  std::int64_t heads, std::int64_t head_dim)
      : context_(context),
        offsets_(offsets),
        heads_(heads),
        scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)))) {}

  void attend(std::int64_t /*layer*/, tensor::MatrixView<float> queries,
              tensor::MatrixView<float> keys, tensor::MatrixView<float> values,
              tensor::MatrixView<float> out) override {
    kernels::cpu::attention_packed(context_, queries, keys, values, offsets_, heads_, scale_, out);
  }

 private:
  const kernels::Context& context_;
  std::span<const std::int64_t> offsets_;
  std::int64_t heads_;
  float scale_;
};

}  // namespace gamelan::infer
