#include "train/optim/make_optimizer.h"

#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/normalization.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "train/optim/fused_adamw.h"

namespace gamelan::train {
namespace {

bool is_normalisation(const torch::nn::Module& module) {
  return module.as<torch::nn::LayerNorm>() != nullptr ||
         module.as<torch::nn::GroupNorm>() != nullptr ||
         module.as<torch::nn::BatchNorm1d>() != nullptr ||
         module.as<torch::nn::BatchNorm2d>() != nullptr ||
         module.as<torch::nn::BatchNorm3d>() != nullptr;
}

bool part_excludes(std::string_view part) {
  return part == "norm" || part.ends_with("_norm");
}

/// By name alone, for normalisations that are no module of LibTorch.
bool name_excludes(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* pattern : {"bias", "layernorm", "rmsnorm"}) {
    if (name.find(pattern) != name.npos) {
      return true;
    }
  }
  for (std::string_view rest = name; !rest.empty();) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    if (part_excludes(rest.substr(0, dot))) {
      return true;
    }
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  return false;
}

/// Builds the optimizer, then sets the options of both groups again: LibTorch 2.10 and newer take a
/// group's value that equals the type's own default for "not given" and overwrite it with
/// `defaults`.
template <class Optim, class Options>
std::unique_ptr<torch::optim::Optimizer> two_groups(const DecayGroups& groups,
                                                    const Options& defaults) {
  std::vector<torch::optim::OptimizerParamGroup> param_groups;
  param_groups.emplace_back(groups.decay);
  param_groups.emplace_back(groups.no_decay);
  auto optimizer = std::make_unique<Optim>(param_groups, defaults);
  auto plain = std::make_unique<Options>(defaults);
  plain->weight_decay(0.0);
  optimizer->param_groups()[0].set_options(std::make_unique<Options>(defaults));
  optimizer->param_groups()[1].set_options(std::move(plain));
  return optimizer;
}

template <class Options>
Options adam_options(const OptimizerOptions& options) {
  return Options(options.learning_rate)
      .betas(std::make_tuple(options.beta1, options.beta2))
      .eps(options.epsilon)
      .weight_decay(options.weight_decay);
}

}  // namespace

DecayGroups decay_groups(const torch::nn::Module& module) {
  std::set<const c10::TensorImpl*> normalisation;
  for (const auto& child : module.modules(/*include_self=*/false)) {
    if (is_normalisation(*child)) {
      for (const at::Tensor& parameter : child->parameters(/*recurse=*/false)) {
        normalisation.insert(parameter.unsafeGetTensorImpl());
      }
    }
  }
  DecayGroups groups;
  std::set<const c10::TensorImpl*> seen;  // a shared parameter counts once
  for (const auto& item : module.named_parameters()) {
    const at::Tensor& parameter = item.value();
    if (!parameter.requires_grad() || !seen.insert(parameter.unsafeGetTensorImpl()).second) {
      continue;
    }
    const bool excluded =
        normalisation.contains(parameter.unsafeGetTensorImpl()) || name_excludes(item.key());
    (excluded ? groups.no_decay : groups.decay).push_back(parameter);
    (excluded ? groups.no_decay_names : groups.decay_names).push_back(item.key());
  }
  return groups;
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const OptimizerOptions& options,
                                                        const DecayGroups& groups) {
  using namespace torch::optim;
  if (options.name == "adamw" || options.name == "adamw_torch") {
    return two_groups<FusedAdamW>(groups, adam_options<AdamWOptions>(options));
  }
  if (options.name == "adam") {
    return two_groups<Adam>(groups, adam_options<AdamOptions>(options));
  }
  if (options.name == "sgd") {
    return two_groups<SGD>(groups, SGDOptions(options.learning_rate)
                                       .momentum(options.momentum)
                                       .weight_decay(options.weight_decay));
  }
  TORCH_CHECK_VALUE(false, "optim: expected 'adamw', 'adam' or 'sgd', got '", options.name, "'");
}

}  // namespace gamelan::train
