#pragma once

#include <ATen/core/Tensor.h>

namespace gamelan::train {

/// Where the gradient of a parameter is kept during and after a backward pass: the parameter's own
/// `grad()`, or the map of a distributed autograd context. Used from the thread of the pass.
class GradSlot {
 public:
  virtual ~GradSlot() = default;
  /// The gradient so far; undefined when there is none.
  virtual at::Tensor get(const at::Tensor& parameter) const = 0;
  virtual void set(const at::Tensor& parameter, const at::Tensor& gradient) = 0;
};

/// `parameter.grad()`.
class ParameterGradSlot : public GradSlot {
 public:
  at::Tensor get(const at::Tensor& parameter) const override { return parameter.grad(); }
  void set(const at::Tensor& parameter, const at::Tensor& gradient) override {
    parameter.mutable_grad() = gradient;
  }
};

}  // namespace gamelan::train
