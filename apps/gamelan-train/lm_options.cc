#include "gamelan-train/lm_options.h"

#include "cli/arguments.h"

namespace gamelan::apps {
namespace {

void add_model_options(CLI::App& app, LmOptions& o) {
  app.add_option("--model-name-or-path", o.model,
                 "HuggingFace folder (BLOOM or GPT-2) to go on from");
  app.add_option("--config-name", o.config_name,
                 "config.json of a model that starts from random weights instead");
  app.add_option("--model-type", o.model_type,
                 "bloom or gpt2: random weights of the sizes that follow")
      ->check(CLI::IsMember({"bloom", "gpt2"}));
  app.add_option("--hidden-size", o.hidden_size)
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--num-hidden-layers", o.num_hidden_layers)
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10'000}))
      ->capture_default_str();
  app.add_option("--num-attention-heads", o.num_attention_heads)
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 16))
      ->capture_default_str();
  app.add_option("--tokenizer-name", o.tokenizer_name,
                 "Folder or file of the tokenizer (default: that of --model-name-or-path)");
  app.add_option("--dropout", o.dropout, "Of embeddings, attention and residuals")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
}

void add_data_options(CLI::App& app, LmOptions& o) {
  app.add_option("--train-file", o.train_file, "Text, one document a line; also .gz");
  app.add_option("--validation-file", o.validation_file,
                 "Text whose perplexity is measured after each epoch");
  app.add_option("--block-size", o.block_size, "Tokens of one sample")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--eos-token", o.eos_token,
                 "Token between documents (default: </s> or <|endoftext|>, as the tokenizer has)");
  app.add_option("--max-train-samples", o.max_train_samples, "The first N blocks; 0: all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-eval-samples", o.max_eval_samples, "The first N blocks; 0: all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--per-device-eval-batch-size", o.per_device_eval_batch_size)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

}  // namespace

LmOptions lm_defaults() {
  LmOptions options;
  options.training.num_train_epochs = 1;
  options.training.learning_rate = 5e-4;
  options.training.save_total_limit = 1;
  return options;
}

void add_lm_options(CLI::App& app, LmOptions& options) {
  cli::describe(app,
                "gamelan run --standalone --nproc-per-node 2 gamelan train lm \\\n"
                "    --model-type bloom --hidden-size 256 --num-hidden-layers 6 "
                "--tokenizer-name tokenizer \\\n"
                "    --train-file text.txt --output-dir out --bf16",
                "Trains a causal language model on a text file and writes a folder that "
                "HuggingFace and 'gamelan generate' load.");
  add_model_options(app, options);
  add_data_options(app, options);
  add_training_options(app, options.training);
  add_output_options(app, options.training, options.output);
  add_process_options(app, options.processes);
}

std::optional<std::string> find_usage_error(const LmOptions& o) {
  if (!o.model.empty() + !o.config_name.empty() + !o.model_type.empty() != 1) {
    return "expected one of --model-name-or-path (a folder), --config-name and --model-type "
           "(random "
           "weights)";
  }
  if (o.model.empty() && o.tokenizer_name.empty()) {
    return "random weights need --tokenizer-name, the folder of a tokenizer";
  }
  if (!o.model_type.empty() && o.hidden_size % o.num_attention_heads != 0) {
    return "--hidden-size " + std::to_string(o.hidden_size) + " is no multiple of " +
           "--num-attention-heads " + std::to_string(o.num_attention_heads);
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
