#include "train/checkpoint/snapshot.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/util/Exception.h>
#include <torch/nn/module.h>

#include <mutex>
#include <set>

namespace gamelan::train {
namespace {

/// Up to three of `names`, for messages.
std::string some(const std::set<std::string>& names) {
  std::string text;
  std::size_t shown = 0;
  for (const std::string& name : names) {
    if (shown++ == 3) {
      return text + ", and " + std::to_string(names.size() - 3) + " more";
    }
    text += (text.empty() ? "'" : ", '") + name + "'";
  }
  return text;
}

void check_same_names(const std::map<std::string, at::Tensor>& module,
                      const std::map<std::string, at::Tensor>& state) {
  std::set<std::string> missing;
  std::set<std::string> unexpected;
  for (const auto& [name, tensor] : module) {
    if (!state.contains(name)) {
      missing.insert(name);
    }
  }
  for (const auto& [name, tensor] : state) {
    if (!module.contains(name)) {
      unexpected.insert(name);
    }
  }
  TORCH_CHECK(missing.empty() && unexpected.empty(),
              "the snapshot is of another model: ", missing.size(), " of ", module.size(),
              " tensors are missing", missing.empty() ? "" : " (" + some(missing) + ")", ", ",
              unexpected.size(), " are unknown",
              unexpected.empty() ? "" : " (" + some(unexpected) + ")");
}

std::map<std::string, at::Tensor> copy_tensors(const std::map<std::string, at::Tensor>& tensors) {
  std::map<std::string, at::Tensor> copies;
  for (const auto& [name, tensor] : tensors) {
    copies.emplace(name, tensor.detach().clone(at::MemoryFormat::Contiguous));
  }
  return copies;
}

}  // namespace

std::map<std::string, at::Tensor> model_state(const torch::nn::Module& module) {
  std::map<std::string, at::Tensor> state;
  for (const auto& item : module.named_parameters()) {
    state.emplace(item.key(), item.value().detach());
  }
  for (const auto& item : module.named_buffers()) {
    state.emplace(item.key(), item.value().detach());
  }
  return state;
}

void load_model_state(torch::nn::Module& module, const std::map<std::string, at::Tensor>& state) {
  const std::map<std::string, at::Tensor> own = model_state(module);
  check_same_names(own, state);
  for (const auto& [name, tensor] : own) {
    const at::Tensor& saved = state.at(name);
    TORCH_CHECK(saved.sizes() == tensor.sizes() && saved.scalar_type() == tensor.scalar_type(),
                "the snapshot is of another model: '", name, "': expected ", tensor.sizes(), " of ",
                tensor.scalar_type(), ", got ", saved.sizes(), " of ", saved.scalar_type());
  }
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) {
    tensor.copy_(state.at(name));
  }
}

Snapshot copy_snapshot(const Snapshot& snapshot) {
  Snapshot copy = snapshot;
  copy.model = copy_tensors(snapshot.model);
  for (auto& [number, tensors] : copy.optimizer.state) {
    tensors = copy_tensors(tensors);
  }
  for (RankState& rank : copy.ranks) {
    rank.rng = rank.rng.clone();
  }
  return copy;
}

at::Tensor rng_state() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void set_rng_state(const at::Tensor& state) {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

}  // namespace gamelan::train
