#pragma once

#include <cstdint>
#include <span>

#include "kernels/context.h"
#include "tensor/matrix_view.h"

namespace gamelan::kernels::cpu {

/// cos and sin of the rotation, one row a position: [positions, rotary_dim / 2] each.
struct RotaryTable {
  tensor::MatrixView<const float> cosine;
  tensor::MatrixView<const float> sine;
};

/// Rotates the first rotary_dim numbers of every head of x [rows, heads * head_dim] in place, row i
/// by the table's row positions[i] (Su et al. 2021): number j pairs with j + rotary_dim / 2, as
/// HuggingFace stores Llama and NeoX.
void rotate(const Context& context, std::span<const std::int32_t> positions,
            const RotaryTable& table, std::int64_t heads, std::int64_t head_dim,
            tensor::MatrixView<float> x);

}  // namespace gamelan::kernels::cpu
