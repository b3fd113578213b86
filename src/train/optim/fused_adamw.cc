#include "train/optim/fused_adamw.h"

#include <ATen/ATen.h>

#include <memory>
#include <vector>

namespace gamelan::train {
namespace {

using torch::optim::AdamWOptions;
using torch::optim::AdamWParamState;

// What one fused call works on; the lists run in parallel.
struct Lists {
  std::vector<at::Tensor> parameters, gradients, averages, squares, maxima, steps;
};

void add(Lists& lists, const at::Tensor& parameter, AdamWParamState& state, bool amsgrad) {
  TORCH_CHECK(!parameter.grad().is_sparse(), "AdamW: expected a dense gradient, got a sparse one");
  if (!state.exp_avg().defined()) {
    state.step(0);
    state.exp_avg(at::zeros_like(parameter, at::MemoryFormat::Preserve));
    state.exp_avg_sq(at::zeros_like(parameter, at::MemoryFormat::Preserve));
    if (amsgrad) {
      state.max_exp_avg_sq(at::zeros_like(parameter, at::MemoryFormat::Preserve));
    }
  }
  state.step(state.step() + 1);
  lists.parameters.push_back(parameter);
  lists.gradients.push_back(parameter.grad());
  lists.averages.push_back(state.exp_avg());
  lists.squares.push_back(state.exp_avg_sq());
  if (amsgrad) {
    lists.maxima.push_back(state.max_exp_avg_sq());
  }
  lists.steps.push_back(at::scalar_tensor(static_cast<float>(state.step()), at::kFloat));
}

}  // namespace

torch::Tensor FusedAdamW::step(LossClosure closure) {
  torch::Tensor loss;
  if (closure) {
    const at::AutoGradMode enable_grad(true);
    loss = closure();
  }
  const at::NoGradGuard no_grad;
  for (auto& group : param_groups_) {
    const auto& options = static_cast<const AdamWOptions&>(group.options());
    Lists lists;
    for (const at::Tensor& parameter : group.params()) {
      if (!parameter.grad().defined()) {
        continue;
      }
      auto& state = state_[parameter.unsafeGetTensorImpl()];
      if (state == nullptr) {
        state = std::make_unique<AdamWParamState>();
      }
      add(lists, parameter, static_cast<AdamWParamState&>(*state), options.amsgrad());
    }
    if (!lists.parameters.empty()) {
      at::_fused_adamw_(lists.parameters, lists.gradients, lists.averages, lists.squares,
                        lists.maxima, lists.steps, options.lr(), std::get<0>(options.betas()),
                        std::get<1>(options.betas()), options.weight_decay(), options.eps(),
                        options.amsgrad(), /*maximize=*/false);
    }
  }
  return loss;
}

}  // namespace gamelan::train
