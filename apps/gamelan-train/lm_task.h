#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "gamelan-train/model_task.h"
#include "train/data/token_blocks.h"
#include "train/models/causal_lm.h"

namespace gamelan::apps {

/// Trains a language model on the blocks of one text and measures its perplexity on another's.
class LmTask : public ModelTask<train::CausalLM> {
 public:
  struct Options : CommonOptions {
    /// Blocks that count, the first ones; 0 = all.
    std::int64_t max_train_samples = 0;
    std::int64_t max_eval_samples = 0;
  };

  /// `group` may be null: one process. The data must outlive the task.
  LmTask(train::CausalLM model, const train::TokenBlocks& training,
         const train::TokenBlocks* evaluation, std::shared_ptr<dist::ProcessGroup> group,
         const Options& options);

  train::TrainingSet training_set() override;
  at::Tensor loss(std::span<const std::size_t> indices) override;
  /// {"perplexity", "loss", "tokens", "seconds"}; {} without an evaluation set.
  nlohmann::json evaluate(std::int64_t epoch) override;

 private:
  /// The mean cross-entropy of each of `blocks` of the evaluation set.
  at::Tensor losses_of(std::span<const std::size_t> blocks, base::ProgressBar& bar);

  const train::TokenBlocks& training_;
  const train::TokenBlocks* const evaluation_;
  const std::int64_t max_train_samples_;
  const std::int64_t max_eval_samples_;
};

}  // namespace gamelan::apps
