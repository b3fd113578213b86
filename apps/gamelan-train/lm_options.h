#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "gamelan-train/training_options.h"

namespace gamelan::apps {

/// The options of `gamelan train lm`, named as HuggingFace's.
struct LmOptions {
  /// A HuggingFace folder to start from; or a config.json; or a type with its sizes.
  std::string model;
  std::string config_name;
  std::string model_type;
  std::int64_t hidden_size = 256;
  std::int64_t num_hidden_layers = 6;
  std::int64_t num_attention_heads = 8;
  /// Folder or file of the tokenizer; empty = that of `model`.
  std::string tokenizer_name;
  double dropout = 0.0;

  std::string train_file;
  std::string validation_file;
  /// 0 = all.
  std::int64_t max_train_samples = 0;
  std::int64_t max_eval_samples = 0;
  /// Tokens of a sample.
  std::int64_t block_size = 256;
  /// The token between documents (lines of the file); empty = the first of "</s>",
  /// "<|endoftext|>" that the tokenizer has.
  std::string eos_token;
  std::int64_t per_device_eval_batch_size = 8;

  ProcessOptions processes;
  OutputOptions output;
  train::TrainingArguments training;
};

/// Defaults of the job where they differ from TrainingArguments'.
LmOptions lm_defaults();

void add_lm_options(CLI::App& app, LmOptions& options);

/// What a parsed command line still lacks or contradicts; nullopt when nothing.
std::optional<std::string> find_usage_error(const LmOptions& options);

}  // namespace gamelan::apps
