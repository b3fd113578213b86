#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/arguments.h"
#include "gamelan-train/commands.h"
#include "gamelan-train/lm_options.h"
#include "gamelan-train/lm_task.h"
#include "gamelan-train/processes.h"
#include "gamelan-train/run_job.h"
#include "io/line_reader.h"
#include "io/load_tokenizer.h"
#include "io/model_config_writer.h"
#include "io/tokenizer_folder.h"
#include "io/weights.h"
#include "train/models/causal_lm_weights.h"
#include "train/torch_view.h"

namespace gamelan::apps {
namespace {

using train::throw_if_error;
using train::TokenBlocks;
using train::value_or_throw;

/// A tokenizer, where its files are, and the token that stands between documents.
struct LmTokenizer {
  std::string path;
  std::unique_ptr<text::Tokenizer> tokenizer;
  text::TokenId separator = 0;
};

LmTokenizer open_tokenizer(const LmOptions& options) {
  LmTokenizer opened;
  opened.path = options.tokenizer_name.empty() ? options.model : options.tokenizer_name;
  opened.tokenizer = value_or_throw(io::load_tokenizer(opened.path));
  const std::vector<std::string> candidates =
      options.eos_token.empty() ? std::vector<std::string>{"</s>", "<|endoftext|>"}
                                : std::vector<std::string>{options.eos_token};
  for (const std::string& token : candidates) {
    if (const auto id = opened.tokenizer->id_of(token)) {
      opened.separator = *id;
      return opened;
    }
  }
  TORCH_CHECK_VALUE(false, opened.path, ": expected one of the tokens ",
                    fmt::format("{}", fmt::join(candidates, ", ")),
                    " to stand between documents; --eos-token names another");
}

io::ModelConfig random_config(const LmOptions& options, const LmTokenizer& tokenizer) {
  if (!options.config_name.empty()) {
    std::ifstream file(options.config_name, std::ios::binary);
    TORCH_CHECK_VALUE(file.good(), "--config-name: cannot read ", options.config_name);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return value_or_throw(io::parse_model_config(text, options.config_name));
  }
  // The architecture's own defaults, then the sizes asked for.
  const nlohmann::json sizes = {{"model_type", options.model_type},
                                {"vocab_size", tokenizer.tokenizer->vocabulary_size()},
                                {"hidden_size", options.hidden_size},
                                {"num_hidden_layers", options.num_hidden_layers},
                                {"num_attention_heads", options.num_attention_heads},
                                {"max_position_embeddings", options.block_size},
                                {"bos_token_id", tokenizer.separator},
                                {"eos_token_id", tokenizer.separator}};
  return value_or_throw(io::parse_model_config(sizes.dump(), "--model-type"));
}

struct LoadedLm {
  train::CausalLM model{nullptr};
  std::vector<std::string> unused;
};

LoadedLm load_model(const LmOptions& options, const LmTokenizer& tokenizer) {
  LoadedLm loaded;
  if (options.model.empty()) {
    io::ModelConfig config = random_config(options, tokenizer);
    config.class_name =
        config.architecture == io::Architecture::kBloom ? "BloomForCausalLM" : "GPT2LMHeadModel";
    config.dtype = tensor::DType::kF32;
    loaded.model = train::CausalLM(config, options.dropout);
    train::initialize_causal_lm(*loaded.model, options.training.seed);
  } else {
    loaded.model =
        train::CausalLM(value_or_throw(io::load_model_config(options.model)), options.dropout);
    loaded.unused = train::load_causal_lm_weights(*loaded.model,
                                                  value_or_throw(io::open_weights(options.model)))
                        .unused;
  }
  const io::ModelConfig& config = loaded.model->config();
  TORCH_CHECK_VALUE(tokenizer.tokenizer->vocabulary_size() <= config.vocab_size,
                    "the tokenizer has ", tokenizer.tokenizer->vocabulary_size(),
                    " tokens, expected at most the model's vocab_size ", config.vocab_size);
  TORCH_CHECK_VALUE(
      config.positions == io::Positions::kAlibi || options.block_size <= config.max_positions,
      "--block-size: expected at most the model's ", config.max_positions, " positions, got ",
      options.block_size);
  return loaded;
}

TokenBlocks read_blocks(const std::string& path, const LmTokenizer& tokenizer,
                        std::int64_t block_size) {
  TokenBlocks blocks(block_size);
  io::LineReader lines = value_or_throw(io::LineReader::open(path));
  std::string line;
  while (value_or_throw(lines.next(line))) {
    if (!line.empty()) {
      blocks.append(*tokenizer.tokenizer, line, tokenizer.separator);
    }
  }
  TORCH_CHECK_VALUE(blocks.size() > 0, path, ": expected at least one block of ", block_size,
                    " tokens (--block-size), got ", blocks.tokens(), " tokens");
  return blocks;
}

void save_model(const std::string& folder, train::CausalLMImpl& model,
                const std::string& tokenizer) {
  std::filesystem::create_directories(folder);
  train::save_causal_lm_weights(model,
                                (std::filesystem::path(folder) / "model.safetensors").string());
  throw_if_error(io::copy_tokenizer_files(tokenizer, folder));
  throw_if_error(io::save_model_config(folder, model.config()));
  fmt::print("Model saved in {}\n", folder);
  std::fflush(stdout);
}

void say_what_there_is(const Processes& processes, const LmOptions& options, const LoadedLm& lm,
                       const TokenBlocks& training, const TokenBlocks* evaluation) {
  say(processes, options.model.empty() ? "Model: random weights" : "Model: " + options.model);
  if (!lm.unused.empty()) {
    say(processes, fmt::format("  unused of the checkpoint: {}", fmt::join(lm.unused, ", ")));
  }
  const auto blocks = [&](const char* name, const TokenBlocks& set) {
    say(processes, fmt::format("{} set: {} tokens in {} blocks of {}", name, set.tokens(),
                               set.size(), set.block_size()));
  };
  blocks("Training", training);
  if (evaluation != nullptr) {
    blocks("Evaluation", *evaluation);
  }
}

LmTask::Options task_options(const LmOptions& options, const LmTokenizer& tokenizer) {
  LmTask::Options task;
  task.eval_batch_size = options.per_device_eval_batch_size;
  task.max_train_samples = options.max_train_samples;
  task.max_eval_samples = options.max_eval_samples;
  task.bf16 = options.training.bf16;
  task.progress_bar = !options.training.disable_tqdm;
  task.bucket_cap_bytes = static_cast<std::size_t>(options.processes.bucket_cap_mb * (1 << 20));
  task.save = [&options, &tokenizer](train::CausalLMImpl& model) {
    save_model(options.training.output_dir, model, tokenizer.path);
  };
  return task;
}

/// Returns the exit code.
int train_lm(const LmOptions& options) {
  const base::TimePoint start = base::Clock::now();
  const Processes processes = join(options.processes);
  const LmTokenizer tokenizer = open_tokenizer(options);
  LoadedLm lm = load_model(options, tokenizer);
  const LmTask::Options task = task_options(options, tokenizer);
  if (options.output.init_only) {
    if (processes.first()) {
      task.save(*lm.model);
    }
    return cli::kExitDone;
  }
  const TokenBlocks training = read_blocks(options.train_file, tokenizer, options.block_size);
  std::optional<TokenBlocks> evaluation;
  if (!options.validation_file.empty()) {
    evaluation = read_blocks(options.validation_file, tokenizer, options.block_size);
  }
  say_what_there_is(processes, options, lm, training, evaluation ? &*evaluation : nullptr);
  LmTask job(lm.model, training, evaluation ? &*evaluation : nullptr, processes.group, task);
  return run_task(job, processes, options.training, options.output, {start, "perplexity"});
}

}  // namespace

int lm_command(const std::vector<std::string>& arguments) {
  LmOptions options = lm_defaults();
  CLI::App app("", "gamelan train lm");
  add_lm_options(app, options);
  if (const auto code = cli::parse(app, arguments)) {
    return *code;
  }
  if (const auto error = find_usage_error(options)) {
    return cli::usage_error(app, *error);
  }
  return run_verb("lm", [&] { return train_lm(options); });
}

}  // namespace gamelan::apps
