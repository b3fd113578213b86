#pragma once

// The options that every verb that trains has, named as HuggingFace's.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "train/trainer/training_arguments.h"

namespace gamelan::apps {

/// The processes of a job and what they share.
struct ProcessOptions {
  std::string backend = "cpu";
  double bucket_cap_mb = 25;
  std::int64_t ddp_timeout_seconds = 1800;
  /// 0 = OMP_NUM_THREADS, else all CPUs.
  int threads = 0;
};

/// What a job writes besides the model.
struct OutputOptions {
  bool init_only = false;
  bool json = false;
};

void add_training_options(CLI::App& app, train::TrainingArguments& arguments);
void add_output_options(CLI::App& app, train::TrainingArguments& arguments, OutputOptions& options);
void add_process_options(CLI::App& app, ProcessOptions& options);

}  // namespace gamelan::apps
