#pragma once

#include <cstddef>
#include <vector>

#include "io/model_config.h"
#include "kernels/context.h"
#include "kernels/cpu/norm.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// A layer norm or an RMS norm with its parameters.
struct Norm {
  io::NormKind kind = io::NormKind::kLayerNorm;
  float epsilon = 1e-5F;
  /// [columns], or empty.
  std::vector<float> weight;
  std::vector<float> bias;

  std::size_t size_bytes() const { return (weight.size() + bias.size()) * sizeof(float); }
  /// x and y may be the same.
  void operator()(const kernels::Context& context, tensor::MatrixView<const float> x,
                  tensor::MatrixView<float> y) const {
    const kernels::cpu::NormParameters parameters{weight.empty() ? nullptr : weight.data(),
                                                  bias.empty() ? nullptr : bias.data(), epsilon};
    if (kind == io::NormKind::kRmsNorm) {
      kernels::cpu::rms_norm(context, x, parameters, y);
    } else {
      kernels::cpu::layer_norm(context, x, parameters, y);
    }
  }
};

}  // namespace gamelan::infer
