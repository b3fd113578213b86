#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "dist/collective/process_group.h"
#include "train/data/token_blocks.h"
#include "train/ddp/distributed_data_parallel.h"
#include "train/models/causal_lm.h"
#include "train/trainer/trainer.h"

namespace gamelan::apps {

/// Trains a language model on the blocks of one text and measures its perplexity on another's.
class LmTask : public train::Task {
 public:
  struct Options {
    std::int64_t eval_batch_size = 8;
    /// Blocks that count, the first ones; 0 = all.
    std::int64_t max_train_samples = 0;
    std::int64_t max_eval_samples = 0;
    bool bf16 = false;
    bool progress_bar = true;
    /// Of gradient buckets.
    std::size_t bucket_cap_bytes = 25 << 20;
    /// Writes the model; called on rank 0 alone.
    std::function<void(train::CausalLMImpl&)> save;
  };

  /// `group` may be null: one process. The data must outlive the task.
  LmTask(train::CausalLM model, const train::TokenBlocks& training,
         const train::TokenBlocks* evaluation, std::shared_ptr<dist::ProcessGroup> group,
         Options options);

  torch::nn::Module& model() override { return *model_; }
  train::TrainingSet training_set() override;
  at::Tensor loss(std::span<const std::size_t> indices) override;
  std::shared_ptr<void> no_sync() override;
  void begin_epoch(const train::EpochPlan& plan) override {}
  /// {"perplexity", "loss", "tokens", "seconds"}; {} without an evaluation set.
  nlohmann::json evaluate(std::int64_t epoch) override;
  void save_result() override;

 private:
  bool first_rank() const { return group_ == nullptr || group_->rank() == 0; }
  /// The mean cross-entropy over the evaluation set, the same on every rank.
  double evaluation_loss(std::size_t blocks);

  train::CausalLM model_;
  const train::TokenBlocks& training_;
  const train::TokenBlocks* const evaluation_;
  const std::shared_ptr<dist::ProcessGroup> group_;
  const Options options_;
  std::optional<train::DistributedDataParallel<train::CausalLM>> ddp_;
};

}  // namespace gamelan::apps
