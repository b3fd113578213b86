#pragma once

#include <cstddef>
#include <vector>

#include "kernels/context.h"
#include "kernels/cpu/linear.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// y = activation(x W^T + bias): a packed matrix with its bias.
struct Projection {
  kernels::cpu::PackedLinear weight;
  /// [out], or empty.
  std::vector<float> bias;

  bool empty() const { return weight.empty(); }
  std::size_t size_bytes() const {
    return empty() ? 0 : weight.size_bytes() + bias.size() * sizeof(float);
  }
  /// `options.bias` is replaced by this one's.
  void operator()(const kernels::Context& context, tensor::MatrixView<const float> x,
                  tensor::MatrixView<float> y, kernels::cpu::LinearOptions options = {}) const {
    options.bias = bias.empty() ? nullptr : bias.data();
    kernels::cpu::linear(context, weight, x, y, options);
  }
};

}  // namespace gamelan::infer
