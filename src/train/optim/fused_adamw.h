#pragma once

#include <torch/optim/adamw.h>

namespace gamelan::train {

/// LibTorch's AdamW with the update of a parameter in one pass over its memory instead of eight:
/// four to five times faster on a CPU. Options, states and their layout are AdamW's; results differ
/// from it by rounding. Dense gradients only.
class FusedAdamW : public torch::optim::AdamW {
 public:
  using torch::optim::AdamW::AdamW;

  torch::Tensor step(LossClosure closure = nullptr) override;
};

}  // namespace gamelan::train
