#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "gamelan-train/training_options.h"
#include "io/text_dataset.h"
#include "train/trainer/training_arguments.h"

namespace gamelan::apps {

/// The options of `gamelan train bert-classify`, named as HuggingFace's.
struct BertClassifyOptions {
  /// A HuggingFace folder, or, for random weights, a config.json and a folder with a tokenizer.
  std::string model;
  std::string config_name;
  std::string tokenizer_name;

  std::string train_file;
  std::string validation_file;
  io::RowColumns columns;
  bool no_header = false;
  /// 0 = all.
  std::int64_t max_train_samples = 0;
  std::int64_t max_eval_samples = 0;

  std::int64_t max_seq_length = 512;
  std::string padding = "longest";
  std::int64_t per_device_eval_batch_size = 32;
  /// All three dropouts of the model; unset = what the configuration says.
  std::optional<double> dropout;

  ProcessOptions processes;
  OutputOptions output;
  train::TrainingArguments training;
};

/// Defaults of the job where they differ from TrainingArguments'.
BertClassifyOptions bert_classify_defaults();

void add_bert_classify_options(CLI::App& app, BertClassifyOptions& options);

/// What a parsed command line still lacks or contradicts; nullopt when nothing.
std::optional<std::string> find_usage_error(const BertClassifyOptions& options);

}  // namespace gamelan::apps
