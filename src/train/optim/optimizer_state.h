#pragma once

// The state of LibTorch's optimizers in the layout of Python's `optimizer.state_dict()`, read and
// written through their typed options and states.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace torch::optim {
class Optimizer;
}

namespace gamelan::train {

/// As Python's state_dict: parameters are numbered through all groups, in order.
struct OptimizerState {
  /// "AdamW", "Adam" or "SGD".
  std::string type;
  /// By parameter number: "step" (i64 []), "exp_avg", "exp_avg_sq", "max_exp_avg_sq",
  /// "momentum_buffer". A parameter that has not been updated yet has no entry.
  std::map<std::int64_t, std::map<std::string, at::Tensor>> state;
  /// One object a group: lr, betas, eps, weight_decay, … and "params", the numbers of its
  /// parameters.
  nlohmann::json param_groups = nlohmann::json::array();
};

/// The state of `optimizer`, which must be an AdamW, Adam or SGD of LibTorch (otherwise throws
/// c10::Error). Tensors share the optimizer's memory.
OptimizerState optimizer_state(const torch::optim::Optimizer& optimizer);

/// Gives `optimizer` that state; tensors are copied. Throws c10::Error, before anything is changed,
/// when the type, the number of groups or parameters, a shape or an element type differs.
void load_optimizer_state(torch::optim::Optimizer& optimizer, const OptimizerState& state);

}  // namespace gamelan::train
