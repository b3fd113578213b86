#pragma once

#include "kernels/context.h"
#include "tensor/matrix_view.h"

namespace gamelan::kernels::cpu {

/// y += x; both [rows, columns].
void add(const Context& context, tensor::MatrixView<const float> x, tensor::MatrixView<float> y);
/// y[row] += bias [columns] for every row.
void add_bias(const Context& context, const float* bias, tensor::MatrixView<float> y);
/// y = x.
void copy(const Context& context, tensor::MatrixView<const float> x, tensor::MatrixView<float> y);
/// y = tanh(x), the pooler of BERT.
void tanh(const Context& context, tensor::MatrixView<const float> x, tensor::MatrixView<float> y);

}  // namespace gamelan::kernels::cpu
