#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace gamelan::train {

/// What to do when a snapshot cannot be written (disk full, folder gone).
enum class SaveFailure { kContinue, kStop };

/// How a job is trained. Names and meanings are those of HuggingFace's TrainingArguments where one
/// exists.
struct TrainingArguments {
  /// Where snapshots go and where the task puts its result. Empty = nothing is written.
  std::string output_dir;
  /// Removes the snapshots in output_dir and begins anew instead of continuing.
  bool overwrite_output_dir = false;

  std::int64_t num_train_epochs = 3;
  /// Optimizer steps after which training ends; -1 = num_train_epochs decides.
  std::int64_t max_steps = -1;
  std::int64_t per_device_train_batch_size = 8;
  std::int64_t gradient_accumulation_steps = 1;

  /// "adamw", "adam" or "sgd".
  std::string optim = "adamw";
  double learning_rate = 5e-5;
  /// Not applied to biases and to the parameters of normalisations.
  double weight_decay = 0.0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  /// Of optim "sgd".
  double momentum = 0.0;
  /// The norm that the gradient is clipped to; 0 = no clipping.
  double max_grad_norm = 1.0;
  /// "linear" (to zero at the last step) or "constant"; both after a linear warm-up.
  std::string lr_scheduler_type = "linear";
  /// Steps of warm-up; 0 = warmup_ratio decides.
  std::int64_t warmup_steps = 0;
  /// Warm-up as a part of all steps, rounded up.
  double warmup_ratio = 0.0;

  /// Seeds the order of samples; rank r's random numbers are seeded with seed + r.
  std::uint64_t seed = 42;
  /// Draws a new order of samples every epoch; false = data set order.
  bool shuffle = true;
  /// Drops what does not fill a micro-batch on every rank; false = repeats samples to fill up.
  bool dataloader_drop_last = false;
  /// Puts samples of similar length (TrainingSet::lengths) into the same micro-batch.
  bool group_by_length = false;
  /// Computes the loss under bf16 autocast; weights stay in fp32.
  bool bf16 = false;

  /// Prints loss, gradient norm and learning rate every so many steps; 0 = only at the end of an
  /// epoch.
  std::int64_t logging_steps = 0;
  /// Writes a snapshot every so many steps; 0 = none within an epoch.
  std::int64_t save_steps = 500;
  /// Writes a snapshot every so many epochs, and at the end; 0 = none between epochs.
  std::int64_t save_epochs = 1;
  /// How many snapshots are kept; 0 = all.
  std::int64_t save_total_limit = 2;
  SaveFailure save_failure = SaveFailure::kContinue;

  /// No progress bar and no tables.
  bool disable_tqdm = false;

  /// Asked after every step; true on any rank = every rank writes a snapshot and run() returns
  /// early. For signal handlers: `[] { return stop_flag.load(); }`. Empty = never.
  std::function<bool()> should_stop;
};

}  // namespace gamelan::train
