#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "dist/collective/process_group.h"
#include "train/ddp/distributed_data_parallel.h"
#include "train/trainer/trainer.h"

namespace gamelan::testing {

/// A small regression with everything that makes continuing hard: dropout, a normalisation, a step
/// that depends on the order of samples.
class DropoutTask : public train::Task {
 public:
  static constexpr std::int64_t kFeatures = 12;

  explicit DropoutTask(std::int64_t samples, std::shared_ptr<dist::ProcessGroup> group = nullptr,
                       double dropout = 0.3)
      : samples_(samples) {
    torch::manual_seed(99);
    inputs_ = torch::randn({samples, kFeatures});
    targets_ = torch::randn({samples, 1});
    model_ = torch::nn::Sequential(
        torch::nn::Linear(kFeatures, 32), torch::nn::LayerNorm(torch::nn::LayerNormOptions({32})),
        torch::nn::GELU(), torch::nn::Dropout(dropout), torch::nn::Linear(32, 1));
    if (group != nullptr) {
      ddp_.emplace(model_, std::move(group));
    }
  }

  torch::nn::Module& model() override { return *model_; }
  train::TrainingSet training_set() override { return {samples_, lengths}; }
  at::Tensor loss(std::span<const std::size_t> indices) override {
    seen.insert(seen.end(), indices.begin(), indices.end());
    if (on_batch) {
      on_batch();
    }
    const std::vector<std::int64_t> rows(indices.begin(), indices.end());
    const torch::Tensor index = torch::tensor(rows);
    const torch::Tensor input = inputs_.index_select(0, index);
    const torch::Tensor output = ddp_ ? ddp_->forward(input) : model_->forward(input);
    return torch::mse_loss(output, targets_.index_select(0, index));
  }
  std::shared_ptr<void> no_sync() override {
    ++no_syncs;
    using NoSync = train::DistributedDataParallelBase::NoSync;
    return ddp_ ? std::make_shared<NoSync>(*ddp_) : nullptr;
  }
  void begin_epoch(const train::EpochPlan& plan) override { plans.push_back(plan); }
  nlohmann::json evaluate(std::int64_t epoch) override {
    ++evaluations;
    torch::randn({epoch + 3});  // must not matter
    return {{"epoch", epoch}, {"training", model_->is_training()}};
  }
  void save_result() override {
    ++results;
    if (on_result) {
      on_result(*model_);
    }
  }

  std::vector<std::int64_t> lengths;
  std::function<void()> on_batch;
  std::function<void(torch::nn::Module&)> on_result;
  std::vector<std::size_t> seen;
  std::vector<train::EpochPlan> plans;
  int no_syncs = 0;
  int evaluations = 0;
  int results = 0;

 private:
  const std::int64_t samples_;
  torch::Tensor inputs_;   // [samples, kFeatures]
  torch::Tensor targets_;  // [samples, 1]
  torch::nn::Sequential model_;
  std::optional<train::DistributedDataParallel<torch::nn::Sequential>> ddp_;
};

/// Arguments with every source of trouble on: 47 samples make uneven batches and a short last step.
inline train::TrainingArguments dropout_arguments(const std::string& output_dir) {
  train::TrainingArguments arguments;
  arguments.output_dir = output_dir;
  arguments.num_train_epochs = 4;
  arguments.per_device_train_batch_size = 4;
  arguments.gradient_accumulation_steps = 2;
  arguments.learning_rate = 1e-2;
  arguments.weight_decay = 0.05;
  arguments.warmup_ratio = 0.2;
  arguments.save_steps = 3;
  arguments.save_total_limit = 3;
  arguments.disable_tqdm = true;
  return arguments;
}

}  // namespace gamelan::testing
