#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace gamelan::train {

/// Scales the gradients of `parameters` in place so that their joint Euclidean norm is at most
/// `max_norm`, as torch.nn.utils.clip_grad_norm_: every gradient is multiplied by min(1, max_norm /
/// (norm + 1e-6)). Parameters without a gradient are left out. Returns the norm before clipping; it
/// may be infinite or NaN, and the gradients with it. Deterministic for a fixed number of threads.
double clip_grad_norm(const std::vector<at::Tensor>& parameters, double max_norm);

/// That norm alone.
double grad_norm(const std::vector<at::Tensor>& parameters);

}  // namespace gamelan::train
