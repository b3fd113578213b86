#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/progress_bar.h"
#include "dist/collective/process_group.h"
#include "train/data/distributed_sampler.h"
#include "train/data/ordered_gather.h"
#include "train/ddp/distributed_data_parallel.h"
#include "train/trainer/trainer.h"

namespace gamelan::apps {

template <class Model>
struct ModelTaskOptions {
  std::int64_t eval_batch_size = 8;
  bool bf16 = false;
  bool progress_bar = true;
  /// Of gradient buckets.
  std::size_t bucket_cap_bytes = 25 << 20;
  /// Writes the model; called on rank 0 alone.
  std::function<void(typename Model::ContainedType&)> save;
};

/// What tasks have in common that train one model, on several ranks through
/// DistributedDataParallel. Threads as train::Task says.
template <class Model>
class ModelTask : public train::Task {
 public:
  using CommonOptions = ModelTaskOptions<Model>;

  torch::nn::Module& model() override { return *model_; }
  std::shared_ptr<void> no_sync() override {
    return ddp_ ? std::make_shared<train::DistributedDataParallelBase::NoSync>(ddp_->no_sync())
                : nullptr;
  }
  void begin_epoch(const train::EpochPlan& /*plan*/) override {}
  void save_result() override {
    if (first_rank()) {
      common_.save(*model_);
    }
  }

 protected:
  /// `group` may be null: one process.
  ModelTask(Model model, std::shared_ptr<dist::ProcessGroup> group, CommonOptions options)
      : model_(std::move(model)), group_(std::move(group)), common_(std::move(options)) {
    if (group_ != nullptr) {
      train::DistributedDataParallelOptions ddp;
      ddp.bucket_cap_bytes = common_.bucket_cap_bytes;
      ddp_.emplace(model_, group_, ddp);
    }
  }

  bool first_rank() const { return group_ == nullptr || group_->rank() == 0; }
  Model& bare_model() { return model_; }
  const CommonOptions& common() const { return common_; }

  /// The loss ([]) of a batch that is trained on.
  template <class Batch>
  at::Tensor loss_of(const Batch& batch) {
    return ddp_ ? ddp_->forward(batch).loss : model_->forward(batch).loss;
  }

  /// Rows [samples, ...] of this rank's `samples`, while `bar` advances.
  using Measure =
      std::function<at::Tensor(std::span<const std::size_t> samples, base::ProgressBar& bar)>;
  /// Those of all `size` samples of an evaluation set, each measured by one rank, on every rank.
  at::Tensor measure(std::size_t size, const char* unit, const Measure& measure_mine) const {
    train::DistributedSamplerOptions sampler;
    sampler.rank = group_ == nullptr ? 0 : group_->rank();
    sampler.world_size = group_ == nullptr ? 1 : group_->size();
    sampler.shuffle = false;
    sampler.tail = train::SamplerTail::kUneven;
    const std::vector<std::size_t> mine = train::DistributedSampler(size, sampler).indices();
    base::ProgressBar bar({.title = "Evaluating",
                           .total = static_cast<std::int64_t>(mine.size()),
                           .unit = unit,
                           .enabled = first_rank() && common_.progress_bar});
    const at::Tensor rows = measure_mine(mine, bar);
    bar.finish();
    return group_ == nullptr
               ? rows
               : train::gather_in_order(*group_, rows, mine, size,
                                        {.root = train::OrderedGatherOptions::kAllRanks});
  }

 private:
  Model model_;
  const std::shared_ptr<dist::ProcessGroup> group_;
  const CommonOptions common_;
  std::optional<train::DistributedDataParallel<Model>> ddp_;
};

}  // namespace gamelan::apps
