#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/progress_bar.h"
#include "train/trainer/trainer.h"
#include "train/trainer/training_arguments.h"

namespace gamelan::train {

/// What a job looks like before its first step.
struct JobSizes {
  int world_size = 1;
  std::string backend;  ///< empty without a group
  std::int64_t samples = 0;
  std::int64_t trainable_parameters = 0;
  std::int64_t steps_per_epoch = 0;
  std::int64_t total_steps = 0;
  std::int64_t epochs = 0;
};

/// One step, for the log.
struct StepReport {
  std::int64_t step = 0;
  double epoch = 0;  ///< fractional
  double loss = 0;   ///< mean over all ranks and the steps since the last report
  double grad_norm = 0;
  double learning_rate = 0;
};

/// What a user sees of a training: results on standard output, the bar on standard error; rank 0
/// alone, the other ranks' objects write nothing. Not thread-safe.
class Report {
 public:
  Report(const TrainingArguments& arguments, bool enabled);

  void sizes(const JobSizes& sizes);
  void already_finished(std::string_view output_dir);
  /// `epoch` is the next one to run.
  void resuming(std::int64_t epoch, const std::string& path, std::int64_t step,
                std::int64_t total_steps);
  void begin_epoch(const EpochPlan& plan, std::int64_t steps_done, std::int64_t epochs);
  void step(double loss);
  void log(const StepReport& report);
  void saved(std::int64_t epoch, const std::string& path);
  /// Ends the bar.
  void end_epoch();
  void epoch_loss(std::int64_t epoch, double loss, double seconds);
  void stopped(std::int64_t step);
  void finished(const TrainResult& result, double seconds);

 private:
  void print(std::string_view line);
  /// Through the bar where there is one, so that it is not torn.
  void print_beside_bar(std::string_view line);

  const TrainingArguments& arguments_;
  const bool enabled_;
  std::unique_ptr<base::ProgressBar> bar_;
};

}  // namespace gamelan::train
