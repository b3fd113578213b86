#include "train/optim/clip_grad.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace gamelan::train {
namespace {

std::vector<at::Tensor> gradients(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> result;
  for (const at::Tensor& parameter : parameters) {
    if (parameter.grad().defined()) {
      result.push_back(parameter.grad().detach());
    }
  }
  return result;
}

/// [] in the gradients' type: the norm of the norms, as Python computes it.
at::Tensor total_norm(const std::vector<at::Tensor>& grads) {
  std::vector<at::Tensor> norms;
  norms.reserve(grads.size());
  for (const at::Tensor& grad : grads) {
    norms.push_back(at::linalg_vector_norm(grad).to(grads.front().scalar_type()));
  }
  return at::linalg_vector_norm(at::stack(norms));
}

}  // namespace

double clip_grad_norm(const std::vector<at::Tensor>& parameters, double max_norm) {
  at::NoGradGuard no_grad;
  const std::vector<at::Tensor> grads = gradients(parameters);
  if (grads.empty()) {
    return 0.0;
  }
  const at::Tensor norm = total_norm(grads);
  const at::Tensor coefficient = at::clamp_max(max_norm / (norm + 1e-6), 1.0);
  // Multiplying by 1 would only move memory. NaN is not 1 and still spreads.
  if (coefficient.item<double>() != 1.0) {
    for (const at::Tensor& grad : grads) {
      grad.mul_(coefficient.to(grad.scalar_type()));
    }
  }
  return norm.item<double>();
}

double grad_norm(const std::vector<at::Tensor>& parameters) {
  at::NoGradGuard no_grad;
  const std::vector<at::Tensor> grads = gradients(parameters);
  return grads.empty() ? 0.0 : total_norm(grads).item<double>();
}

}  // namespace gamelan::train
