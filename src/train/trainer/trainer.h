#pragma once

// The training loop that every job shares: sampling, accumulation, clipping, schedule, snapshots,
// resuming, evaluation, reporting. What is trained on what is a Task. docs/training.md describes
// the loop.

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "train/trainer/training_arguments.h"

namespace torch::nn {
class Module;
}
namespace gamelan::dist {
class ProcessGroup;
}

namespace gamelan::train {

struct TrainingSet {
  std::int64_t size = 0;
  /// The length of every sample, in tokens; needed only with group_by_length, otherwise may be
  /// empty.
  std::vector<std::int64_t> lengths;
};

/// What an epoch of this rank looks like; printed by the trainer, offered to the task.
struct EpochPlan {
  std::int64_t epoch = 0;          ///< 0-based
  std::int64_t micro_batches = 0;  ///< of this rank in the whole epoch
  std::int64_t steps = 0;          ///< optimizer steps in the whole epoch
};

/// A model, its data and its loss. Every rank has its own and is called at the same moments in the
/// same order, from the thread that calls Trainer::run, so any method may use collectives.
/// Exceptions end the run.
class Task {
 public:
  virtual ~Task() = default;

  /// The bare module: its parameters are trained, its parameters and buffers are in the snapshots.
  virtual torch::nn::Module& model() = 0;
  /// The same on every rank.
  virtual TrainingSet training_set() = 0;
  /// The mean loss ([]) of the training samples `indices`, through the DistributedDataParallel
  /// wrapper where there is one. The model is in training mode and autocast is on if asked for; the
  /// trainer scales the loss and calls backward().
  virtual at::Tensor loss(std::span<const std::size_t> indices) = 0;
  /// A guard under which forward and backward leave gradients unreduced (ddp.no_sync()); null when
  /// there is nothing to reduce.
  virtual std::shared_ptr<void> no_sync() = 0;
  /// Before the first micro-batch of an epoch, also of one that is continued.
  virtual void begin_epoch(const EpochPlan& plan) = 0;
  /// After every epoch (0-based), the model in evaluation mode. Prints what the user should see and
  /// returns figures, an object, for the snapshots and the result; {} for none. Random numbers
  /// drawn here do not change the training.
  virtual nlohmann::json evaluate(std::int64_t epoch) = 0;
  /// After the last evaluation: writes the result. The job counts as finished when this has
  /// returned on every rank; a job that was killed before calls it again.
  virtual void save_result() = 0;
};

struct TrainResult {
  /// The job had been finished before; nothing was done.
  bool already_finished = false;
  /// should_stop() asked for an end before the last step.
  bool stopped = false;
  std::int64_t steps = 0;            ///< of the job as a whole
  std::int64_t resumed_step = 0;     ///< where this run began; 0 = at the beginning
  std::int64_t failed_saves = 0;     ///< snapshots that could not be written
  std::vector<double> epoch_losses;  ///< average over all ranks, of the epochs this run ended
  std::vector<nlohmann::json> epoch_metrics;  ///< what evaluate() returned, of every epoch
  double train_seconds = 0;                   ///< of this run, without evaluation
};

/// Trains a task. One use: construct, run() once. The task and the group must outlive it.
class Trainer {
 public:
  /// `group` may be null: one process. Throws c10::Error for arguments that can never be right.
  Trainer(TrainingArguments arguments, Task& task, dist::ProcessGroup* group);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Continues from the newest usable snapshot in output_dir, or begins. Returns the same on every
  /// rank. Throws c10::Error on every rank: unusable output_dir, a snapshot of another model, a
  /// lost peer, whatever the task throws, and a failed save with SaveFailure::kStop.
  TrainResult run();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gamelan::train
