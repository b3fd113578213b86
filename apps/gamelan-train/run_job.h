#pragma once

// How the verbs run their work, and how they end.

#include <functional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "gamelan-train/processes.h"
#include "gamelan-train/training_options.h"
#include "train/trainer/trainer.h"
#include "train/trainer/training_arguments.h"

namespace gamelan::apps {

/// What of a job `--json` reports beside its result.
struct JobReport {
  base::TimePoint start;
  /// The measure of the last epoch that stands for the whole.
  std::string metric;
};

/// Trains to the end, or to a SIGTERM, which leaves a snapshot. Returns the exit code.
int run_task(train::Task& task, const Processes& processes,
             const train::TrainingArguments& arguments, const OutputOptions& output,
             const JobReport& report);

/// The exit code that `work` returns; when it throws, kExitFailed and a line on stderr.
int run_verb(std::string_view verb, const std::function<int()>& work);

}  // namespace gamelan::apps
