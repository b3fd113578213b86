#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "gamelan-train/model_task.h"
#include "train/data/tokenized_dataset.h"
#include "train/models/bert.h"

namespace gamelan::apps {

/// Logits [samples, labels] (f32) of the samples `indices`, in their order. The model is switched
/// to evaluation mode. `on_batch(n)` is called after each batch of n samples.
at::Tensor classify(train::BertForSequenceClassificationImpl& model,
                    const train::TokenizedDataset& data, std::span<const std::size_t> indices,
                    std::int64_t batch_size, bool bf16,
                    const std::function<void(std::int64_t)>& on_batch);

/// Fine-tunes BERT on one labelled set and evaluates it on another.
class BertClassifyTask : public ModelTask<train::BertForSequenceClassification> {
 public:
  struct Options : CommonOptions {
    train::CollateOptions collate;
  };

  /// `group` may be null: one process. The data must outlive the task.
  BertClassifyTask(train::BertForSequenceClassification model,
                   const train::TokenizedDataset& training,
                   const train::TokenizedDataset* evaluation,
                   std::shared_ptr<dist::ProcessGroup> group, const Options& options);

  train::TrainingSet training_set() override;
  at::Tensor loss(std::span<const std::size_t> indices) override;
  /// {"accuracy", "loss", "samples", "seconds"}; {} without an evaluation set.
  nlohmann::json evaluate(std::int64_t epoch) override;

 private:
  const train::TokenizedDataset& training_;
  const train::TokenizedDataset* const evaluation_;
  const train::CollateOptions collate_;
};

}  // namespace gamelan::apps
