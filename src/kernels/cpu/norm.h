#pragma once

#include "kernels/context.h"
#include "tensor/matrix_view.h"

namespace gamelan::kernels::cpu {

/// weight and bias: [columns], each may be null.
struct NormParameters {
  const float* weight = nullptr;
  const float* bias = nullptr;
  float epsilon = 1e-5F;
};

/// y = (x - mean) / sqrt(variance + eps) * weight + bias, row by row (Ba et al. 2016). x and y
/// [rows, columns] may be the same.
void layer_norm(const Context& context, tensor::MatrixView<const float> x,
                const NormParameters& parameters, tensor::MatrixView<float> y);

/// y = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019); no bias.
void rms_norm(const Context& context, tensor::MatrixView<const float> x,
              const NormParameters& parameters, tensor::MatrixView<float> y);

}  // namespace gamelan::kernels::cpu
