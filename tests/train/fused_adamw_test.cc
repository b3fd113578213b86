#include "train/optim/fused_adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

namespace gamelan::train {
namespace {

TEST(FusedAdamWTest, StepsLikeLibTorchsAdamW) {
  for (const bool amsgrad : {false, true}) {
    at::manual_seed(1);
    std::vector<at::Tensor> ours;
    std::vector<at::Tensor> theirs;
    for (const std::int64_t size : {1, 7, 1000}) {
      const at::Tensor start = at::randn({size}, at::kDouble);
      ours.push_back(start.clone().requires_grad_());
      theirs.push_back(start.clone().requires_grad_());
    }
    // One that never has a gradient stays as it is.
    ours.push_back(at::ones({3}, at::kDouble).requires_grad_());
    const auto options =
        torch::optim::AdamWOptions(0.01).betas({0.8, 0.99}).weight_decay(0.1).amsgrad(amsgrad);
    FusedAdamW fused(ours, options);
    torch::optim::AdamW plain(theirs, options);
    for (int step = 0; step < 10; ++step) {
      for (std::size_t i = 0; i < theirs.size(); ++i) {
        const at::Tensor gradient = at::randn_like(theirs[i]);
        ours[i].mutable_grad() = gradient.clone();
        theirs[i].mutable_grad() = gradient;
      }
      fused.step();
      plain.step();
    }
    for (std::size_t i = 0; i < theirs.size(); ++i) {
      EXPECT_TRUE(at::allclose(ours[i], theirs[i], 1e-9, 1e-12)) << i << " amsgrad " << amsgrad;
    }
    EXPECT_TRUE(at::equal(ours.back(), at::ones({3}, at::kDouble)));
    EXPECT_EQ(fused.state().size(), theirs.size());
  }
}

}  // namespace
}  // namespace gamelan::train
