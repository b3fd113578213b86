#include "gamelan-train/bert_classify_options.h"

#include "cli/arguments.h"

namespace gamelan::apps {
namespace {

void add_model_options(CLI::App& app, BertClassifyOptions& o) {
  app.add_option("--model-name-or-path", o.model,
                 "HuggingFace folder to start from: config.json, model.safetensors, tokenizer");
  app.add_option("--config-name", o.config_name,
                 "config.json of a model that starts from random weights instead");
  app.add_option("--tokenizer-name", o.tokenizer_name,
                 "Folder of the tokenizer (default: that of --model-name-or-path)");
  app.add_option("--dropout", o.dropout,
                 "Dropout of hidden layers, attention and classifier (default: the model's)")
      ->check(CLI::Range(0.0, 1.0));
}

void add_data_options(CLI::App& app, BertClassifyOptions& o) {
  app.add_option("--train-file", o.train_file,
                 "Training data: TSV, CSV or JSONL, also .gz, or a folder like aclImdb/train");
  app.add_option("--validation-file", o.validation_file, "Data to evaluate on after each epoch");
  app.add_option("--text-column", o.columns.text,
                 "Name of the column of the texts, or its number from 0")
      ->capture_default_str();
  app.add_option("--label-column", o.columns.label, "Name or number of the column of the labels")
      ->capture_default_str();
  app.add_flag("--no-header", o.no_header, "The first line of TSV and CSV is data");
  app.add_option("--max-train-samples", o.max_train_samples, "Draw N samples by --seed; 0: all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-eval-samples", o.max_eval_samples, "Draw N samples by --seed; 0: all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-seq-length,--max-length", o.max_seq_length,
                 "Tokens kept of a text, special ones included")
      ->check(CLI::Range(std::int64_t{3}, std::int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--padding", o.padding,
                 "longest: no wasted work; max_length: every text padded to --max-seq-length")
      ->check(CLI::IsMember({"longest", "max_length"}))
      ->capture_default_str();
}

}  // namespace

BertClassifyOptions bert_classify_defaults() {
  BertClassifyOptions options;
  options.training.num_train_epochs = 4;
  options.training.learning_rate = 2e-5;
  options.training.save_total_limit = 1;
  return options;
}

void add_bert_classify_options(CLI::App& app, BertClassifyOptions& options) {
  cli::describe(
      app,
      "gamelan run --standalone --nproc-per-node 2 gamelan train bert-classify \\\n"
      "    --model-name-or-path minilm --train-file train.jsonl --validation-file test.jsonl \\\n"
      "    --output-dir out --num-train-epochs 1 --learning-rate 5e-5 --bf16",
      "Fine-tunes BERT to classify texts and writes a folder that HuggingFace loads.");
  add_model_options(app, options);
  add_data_options(app, options);
  add_training_options(app, options.training);
  app.add_flag("--group-by-length", options.training.group_by_length,
               "Batches of texts of similar length");
  app.add_option("--per-device-eval-batch-size", options.per_device_eval_batch_size)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output_options(app, options.training, options.output);
  add_process_options(app, options.processes);
}

std::optional<std::string> find_usage_error(const BertClassifyOptions& o) {
  if (o.model.empty() == o.config_name.empty()) {
    return "expected one of --model-name-or-path (a folder) and --config-name (random weights)";
  }
  if (o.model.empty() && o.tokenizer_name.empty()) {
    return "--config-name needs --tokenizer-name, the folder of a tokenizer";
  }
  if (o.train_file.empty()) {
    return "expected --train-file";
  }
  if (o.training.output_dir.empty()) {
    return "expected --output-dir";
  }
  return std::nullopt;
}

}  // namespace gamelan::apps
