#include "train/optim/optimizer_state.h"

#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

namespace gamelan::train {
namespace {

using torch::optim::Optimizer;
using torch::optim::OptimizerOptions;
using torch::optim::OptimizerParamState;
using Tensors = std::map<std::string, at::Tensor>;

constexpr std::string_view kStep = "step";

void put_if_defined(Tensors& tensors, const char* name, const at::Tensor& tensor) {
  if (tensor.defined()) {
    tensors.emplace(name, tensor.detach());
  }
}

/// A tensor of its own, or an undefined one when the state lacks `name`.
at::Tensor take(const Tensors& tensors, std::string_view name) {
  const auto found = tensors.find(std::string(name));
  return found == tensors.end() ? at::Tensor() : found->second.detach().clone();
}

double number(const nlohmann::json& group, const char* name) {
  TORCH_CHECK(group.contains(name) && group[name].is_number(),
              "optimizer state: expected a number '", name, "' in its param_groups, got ",
              group.dump());
  return group[name].get<double>();
}

bool boolean(const nlohmann::json& group, const char* name) {
  TORCH_CHECK(group.contains(name) && group[name].is_boolean(),
              "optimizer state: expected a boolean '", name, "' in its param_groups, got ",
              group.dump());
  return group[name].get<bool>();
}

std::tuple<double, double> betas(const nlohmann::json& group) {
  TORCH_CHECK(group.contains("betas") && group["betas"].is_array() && group["betas"].size() == 2 &&
                  group["betas"][0].is_number() && group["betas"][1].is_number(),
              "optimizer state: expected two numbers 'betas' in its param_groups, got ",
              group.dump());
  return {group["betas"][0].get<double>(), group["betas"][1].get<double>()};
}

/// How one kind of optimizer is read and written; the strategies below have equal signatures.
struct Kind {
  std::string_view name;
  std::vector<std::string_view> tensor_names;
  bool has_step;
  std::function<bool(const Optimizer&)> matches;
  std::function<nlohmann::json(const OptimizerOptions&)> save_options;
  std::function<std::unique_ptr<OptimizerOptions>(const nlohmann::json&)> load_options;
  std::function<Tensors(const OptimizerParamState&)> save_state;
  std::function<std::unique_ptr<OptimizerParamState>(const Tensors&)> load_state;
};

/// Adam and AdamW have the same options and states under different types.
template <class Optim, class Options, class State>
Kind adam_kind(std::string_view name) {
  Kind kind;
  kind.name = name;
  kind.tensor_names = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"};
  kind.has_step = true;
  kind.matches = [](const Optimizer& o) { return dynamic_cast<const Optim*>(&o) != nullptr; };
  kind.save_options = [](const OptimizerOptions& base) {
    const auto& options = dynamic_cast<const Options&>(base);
    return nlohmann::json{{"lr", options.lr()},
                          {"betas", {std::get<0>(options.betas()), std::get<1>(options.betas())}},
                          {"eps", options.eps()},
                          {"weight_decay", options.weight_decay()},
                          {"amsgrad", options.amsgrad()}};
  };
  kind.load_options = [](const nlohmann::json& group) {
    auto options = std::make_unique<Options>(number(group, "lr"));
    options->betas(betas(group));
    options->eps(number(group, "eps"));
    options->weight_decay(number(group, "weight_decay"));
    options->amsgrad(boolean(group, "amsgrad"));
    return std::unique_ptr<OptimizerOptions>(std::move(options));
  };
  kind.save_state = [](const OptimizerParamState& base) {
    const auto& state = dynamic_cast<const State&>(base);
    Tensors tensors;
    tensors.emplace(kStep, at::scalar_tensor(state.step(), at::kLong));
    put_if_defined(tensors, "exp_avg", state.exp_avg());
    put_if_defined(tensors, "exp_avg_sq", state.exp_avg_sq());
    put_if_defined(tensors, "max_exp_avg_sq", state.max_exp_avg_sq());
    return tensors;
  };
  kind.load_state = [](const Tensors& tensors) {
    auto state = std::make_unique<State>();
    state->step(tensors.at(std::string(kStep)).template item<std::int64_t>());
    state->exp_avg(take(tensors, "exp_avg"));
    state->exp_avg_sq(take(tensors, "exp_avg_sq"));
    state->max_exp_avg_sq(take(tensors, "max_exp_avg_sq"));
    return std::unique_ptr<OptimizerParamState>(std::move(state));
  };
  return kind;
}

Kind sgd_kind() {
  Kind kind;
  kind.name = "SGD";
  kind.tensor_names = {"momentum_buffer"};
  kind.has_step = false;
  kind.matches = [](const Optimizer& o) {
    return dynamic_cast<const torch::optim::SGD*>(&o) != nullptr;
  };
  kind.save_options = [](const OptimizerOptions& base) {
    const auto& options = dynamic_cast<const torch::optim::SGDOptions&>(base);
    return nlohmann::json{{"lr", options.lr()},
                          {"momentum", options.momentum()},
                          {"dampening", options.dampening()},
                          {"weight_decay", options.weight_decay()},
                          {"nesterov", options.nesterov()}};
  };
  kind.load_options = [](const nlohmann::json& group) {
    auto options = std::make_unique<torch::optim::SGDOptions>(number(group, "lr"));
    options->momentum(number(group, "momentum"));
    options->dampening(number(group, "dampening"));
    options->weight_decay(number(group, "weight_decay"));
    options->nesterov(boolean(group, "nesterov"));
    return std::unique_ptr<OptimizerOptions>(std::move(options));
  };
  kind.save_state = [](const OptimizerParamState& base) {
    Tensors tensors;
    put_if_defined(tensors, "momentum_buffer",
                   dynamic_cast<const torch::optim::SGDParamState&>(base).momentum_buffer());
    return tensors;
  };
  kind.load_state = [](const Tensors& tensors) {
    auto state = std::make_unique<torch::optim::SGDParamState>();
    state->momentum_buffer(take(tensors, "momentum_buffer"));
    return std::unique_ptr<OptimizerParamState>(std::move(state));
  };
  return kind;
}

Kind kind_of(const Optimizer& optimizer) {
  using namespace torch::optim;
  const std::array<Kind, 3> kinds = {adam_kind<AdamW, AdamWOptions, AdamWParamState>("AdamW"),
                                     adam_kind<Adam, AdamOptions, AdamParamState>("Adam"),
                                     sgd_kind()};
  for (const Kind& kind : kinds) {
    if (kind.matches(optimizer)) {
      return kind;
    }
  }
  TORCH_CHECK(false,
              "optimizer state: expected torch::optim::AdamW, Adam or SGD, got another optimizer");
}

void check_tensor(const Kind& kind, std::int64_t number, const std::string& name,
                  const at::Tensor& tensor, const at::Tensor& parameter) {
  if (kind.has_step && name == kStep) {
    TORCH_CHECK(tensor.numel() == 1 && tensor.scalar_type() == at::kLong,
                "optimizer state: parameter ", number, ": expected 'step' of one i64, got ",
                tensor.sizes(), " of ", tensor.scalar_type());
    return;
  }
  bool known = false;
  for (const std::string_view candidate : kind.tensor_names) {
    known = known || candidate == name;
  }
  TORCH_CHECK(known, "optimizer state: parameter ", number, ": ", std::string(kind.name),
              " has no state named '", name, "'");
  TORCH_CHECK(
      tensor.sizes() == parameter.sizes() && tensor.scalar_type() == parameter.scalar_type(),
      "optimizer state: parameter ", number, ": expected '", name, "' of shape ", parameter.sizes(),
      " and type ", parameter.scalar_type(), ", got ", tensor.sizes(), " of ",
      tensor.scalar_type());
}

/// The parameters of all groups in order; checks that `state` was made for the same groups.
std::vector<at::Tensor> numbered_parameters(const Optimizer& optimizer,
                                            const OptimizerState& state) {
  const auto& groups = optimizer.param_groups();
  TORCH_CHECK(state.param_groups.is_array() && state.param_groups.size() == groups.size(),
              "optimizer state: expected ", groups.size(), " parameter groups, got ",
              state.param_groups.size());
  std::vector<at::Tensor> parameters;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    nlohmann::json expected = nlohmann::json::array();
    for (const at::Tensor& parameter : groups[g].params()) {
      expected.push_back(parameters.size());
      parameters.push_back(parameter);
    }
    const nlohmann::json& group = state.param_groups[g];
    const bool listed = group.is_object() && group.contains("params");
    TORCH_CHECK(listed && group["params"] == expected, "optimizer state: expected group ", g,
                " to hold the ", groups[g].params().size(), " parameters ",
                expected.empty() ? std::string("(none)") : "from " + expected.front().dump(),
                ", got ", listed ? std::to_string(group["params"].size()) : "no list of them");
  }
  return parameters;
}

}  // namespace

OptimizerState optimizer_state(const Optimizer& optimizer) {
  const Kind kind = kind_of(optimizer);
  OptimizerState result;
  result.type = kind.name;
  std::int64_t number = 0;
  for (const auto& group : optimizer.param_groups()) {
    nlohmann::json saved = kind.save_options(group.options());
    saved["params"] = nlohmann::json::array();
    for (const at::Tensor& parameter : group.params()) {
      saved["params"].push_back(number);
      const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (found != optimizer.state().end()) {
        result.state.emplace(number, kind.save_state(*found->second));
      }
      ++number;
    }
    result.param_groups.push_back(std::move(saved));
  }
  return result;
}

void load_optimizer_state(Optimizer& optimizer, const OptimizerState& state) {
  const Kind kind = kind_of(optimizer);
  TORCH_CHECK(state.type == kind.name, "optimizer state: expected that of ", std::string(kind.name),
              ", got that of ", state.type.empty() ? "no optimizer" : state.type);
  const std::vector<at::Tensor> parameters = numbered_parameters(optimizer, state);
  for (const auto& [number, tensors] : state.state) {
    TORCH_CHECK(number >= 0 && number < static_cast<std::int64_t>(parameters.size()),
                "optimizer state: expected parameters 0 to ", parameters.size() - 1, ", got ",
                number);
    TORCH_CHECK(!kind.has_step || tensors.contains(std::string(kStep)),
                "optimizer state: parameter ", number, ": expected a 'step', got none");
    for (const auto& [name, tensor] : tensors) {
      check_tensor(kind, number, name, tensor, parameters[number]);
    }
  }
  std::vector<std::unique_ptr<OptimizerOptions>> options;
  for (const nlohmann::json& group : state.param_groups) {
    options.push_back(kind.load_options(group));
  }

  for (std::size_t g = 0; g < options.size(); ++g) {
    optimizer.param_groups()[g].set_options(std::move(options[g]));
  }
  optimizer.state().clear();
  for (const auto& [number, tensors] : state.state) {
    optimizer.state()[parameters[number].unsafeGetTensorImpl()] = kind.load_state(tensors);
  }
}

}  // namespace gamelan::train
