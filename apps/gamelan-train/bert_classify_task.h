#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dist/collective/process_group.h"
#include "train/data/tokenized_dataset.h"
#include "train/ddp/distributed_data_parallel.h"
#include "train/models/bert.h"
#include "train/trainer/trainer.h"

namespace gamelan::apps {

/// Logits [samples, labels] (f32) of the samples `indices`, in their order. The model is switched
/// to evaluation mode. `on_batch(n)` is called after each batch of n samples.
at::Tensor classify(train::BertForSequenceClassificationImpl& model,
                    const train::TokenizedDataset& data, std::span<const std::size_t> indices,
                    std::int64_t batch_size, bool bf16,
                    const std::function<void(std::int64_t)>& on_batch);

/// Fine-tunes BERT on one labelled set and evaluates it on another.
class BertClassifyTask : public train::Task {
 public:
  struct Options {
    train::CollateOptions collate;
    std::int64_t eval_batch_size = 32;
    bool bf16 = false;
    bool progress_bar = true;
    /// Of gradient buckets.
    std::size_t bucket_cap_bytes = 25 << 20;
    /// Writes the model; called on rank 0 alone.
    std::function<void(train::BertForSequenceClassificationImpl&)> save;
  };

  /// `group` may be null: one process. The data must outlive the task.
  BertClassifyTask(train::BertForSequenceClassification model,
                   const train::TokenizedDataset& training,
                   const train::TokenizedDataset* evaluation,
                   std::shared_ptr<dist::ProcessGroup> group, Options options);

  torch::nn::Module& model() override { return *model_; }
  train::TrainingSet training_set() override;
  at::Tensor loss(std::span<const std::size_t> indices) override;
  std::shared_ptr<void> no_sync() override;
  void begin_epoch(const train::EpochPlan& plan) override {}
  /// {"accuracy", "loss", "samples", "seconds"}; {} without an evaluation set.
  nlohmann::json evaluate(std::int64_t epoch) override;
  void save_result() override;

 private:
  bool first_rank() const { return group_ == nullptr || group_->rank() == 0; }

  train::BertForSequenceClassification model_;
  const train::TokenizedDataset& training_;
  const train::TokenizedDataset* const evaluation_;
  const std::shared_ptr<dist::ProcessGroup> group_;
  const Options options_;
  std::optional<train::DistributedDataParallel<train::BertForSequenceClassification>> ddp_;
};

}  // namespace gamelan::apps
