#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

namespace torch::nn {
class Module;
}
namespace torch::optim {
class Optimizer;
}

namespace gamelan::train {

/// The trainable parameters of a module, split as HuggingFace's Trainer splits them.
struct DecayGroups {
  std::vector<at::Tensor> decay;
  std::vector<at::Tensor> no_decay;
  std::vector<std::string> decay_names;
  std::vector<std::string> no_decay_names;
};

/// No decay: parameters of LayerNorm, GroupNorm and BatchNorm modules, and those whose name
/// contains "bias", "layernorm" or "rmsnorm" or has a part that is "norm" or ends in "_norm", in
/// any case. Parameters that need no gradient are in neither group; shared ones are in one, once.
DecayGroups decay_groups(const torch::nn::Module& module);

struct OptimizerOptions {
  /// "adamw" (also "adamw_torch"), "adam" or "sgd".
  std::string name = "adamw";
  double learning_rate = 5e-5;
  /// Of the first group; the second has 0.
  double weight_decay = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double momentum = 0.0;
};

/// An optimizer with two groups, decay and no decay. Throws c10::Error for an unknown name or a
/// value out of range.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(const OptimizerOptions& options,
                                                        const DecayGroups& groups);

}  // namespace gamelan::train
