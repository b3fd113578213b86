#include "train/models/causal_lm_weights.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <vector>

namespace gamelan::train {
namespace {

constexpr std::string_view kPrefix = "transformer.";
// initializer_range of both architectures.
constexpr double kInitializerRange = 0.02;

bool is_norm(const std::string& name) {
  return name.find("layernorm") != name.npos || name.find(".ln_") != name.npos;
}

void initialize(const std::string& name, at::Tensor parameter, std::int64_t layers,
                const at::Generator& generator) {
  const at::NoGradGuard no_grad;
  if (name.ends_with(".bias")) {
    parameter.zero_();
  } else if (is_norm(name)) {
    parameter.fill_(1.0);
  } else {
    const bool onto_residual = name.ends_with(".c_proj.weight");
    const double range = onto_residual
                             ? kInitializerRange / std::sqrt(2.0 * static_cast<double>(layers))
                             : kInitializerRange;
    parameter.normal_(0.0, range, generator);
  }
}

std::vector<std::string> names_in_checkpoint(const std::string& name) {
  return {name, name.substr(kPrefix.size())};
}

}  // namespace

void initialize_causal_lm(CausalLMImpl& model, std::uint64_t seed) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  for (const auto& item : model.named_parameters()) {
    initialize(item.key(), item.value(), model.config().num_layers, generator);
  }
}

WeightLoadReport load_causal_lm_weights(CausalLMImpl& model, const io::Weights& weights) {
  WeightLoading loading;
  loading.names = names_in_checkpoint;
  loading.optional = [](const std::string&) { return false; };
  loading.initialize = [](const std::string&, at::Tensor) {};
  // Causal masks that old checkpoints of GPT-2 hold.
  loading.ignored = [](std::string_view name) {
    return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
  };
  loading.shape_hint = [](const std::string&) -> std::string { return " by the configuration"; };
  return load_module_weights(model, weights, loading);
}

void save_causal_lm_weights(const CausalLMImpl& model, std::string_view path) {
  save_module_weights(model, path);
}

}  // namespace gamelan::train
