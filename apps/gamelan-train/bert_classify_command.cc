#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/arguments.h"
#include "gamelan-train/bert_classify_options.h"
#include "gamelan-train/bert_classify_task.h"
#include "gamelan-train/bert_folder.h"
#include "gamelan-train/commands.h"
#include "gamelan-train/processes.h"
#include "gamelan-train/run_job.h"
#include "gamelan-train/text_data.h"
#include "train/data/tokenized_dataset.h"
#include "train/torch_view.h"

namespace gamelan::apps {
namespace {

using train::TokenizedDataset;
using train::value_or_throw;

TokenizedDataset tokenize(const io::TextDataset& texts, const BertFolder& folder,
                          std::int64_t max_length) {
  TokenizedDataset data(folder.tokenizer, static_cast<std::size_t>(max_length));
  for (const io::TextExample& example : texts.examples) {
    data.append(example.text, {}, example.label);
  }
  return data;
}

void check_lengths(const BertClassifyOptions& options, const BertFolder& folder) {
  TORCH_CHECK_VALUE(options.max_seq_length <= folder.config.max_position_embeddings,
                    "--max-seq-length: expected at most the model's ",
                    folder.config.max_position_embeddings, " position embeddings, got ",
                    options.max_seq_length);
  TORCH_CHECK_VALUE(
      static_cast<std::int64_t>(folder.tokenizer.vocabulary_size()) <= folder.config.vocab_size,
      "the tokenizer has ", folder.tokenizer.vocabulary_size(),
      " tokens, expected at most the model's vocab_size ", folder.config.vocab_size);
}

void say_what_was_loaded(const Processes& processes, const BertFolder& folder,
                         const train::BertLoadReport& report) {
  if (folder.weights.empty()) {
    say(processes, "Model: random weights");
    return;
  }
  say(processes, fmt::format("Model: {}", folder.weights));
  if (!report.new_weights.empty()) {
    say(processes,
        fmt::format("  new, not in the checkpoint: {}", fmt::join(report.new_weights, ", ")));
  }
  if (!report.unused.empty()) {
    say(processes, fmt::format("  unused of the checkpoint: {}", fmt::join(report.unused, ", ")));
  }
}

void say_sizes(const Processes& processes, const char* name, const TokenizedDataset& data) {
  std::int64_t longest = 0;
  for (const std::int64_t length : data.lengths()) {
    longest = std::max(longest, length);
  }
  say(processes,
      fmt::format("{} set: {} samples, {} tokens (longest {}, average {:.1f})", name, data.size(),
                  data.tokens(), longest,
                  static_cast<double>(data.tokens()) / static_cast<double>(data.size())));
}

BertClassifyTask::Options task_options(const BertClassifyOptions& options,
                                       const BertFolder& folder) {
  BertClassifyTask::Options task;
  task.collate.pad_to = options.padding == "max_length" ? options.max_seq_length : 0;
  task.collate.pad_token_id = folder.tokenizer.pad_id();
  task.eval_batch_size = options.per_device_eval_batch_size;
  task.bf16 = options.training.bf16;
  task.progress_bar = !options.training.disable_tqdm;
  task.bucket_cap_bytes = static_cast<std::size_t>(options.processes.bucket_cap_mb * (1 << 20));
  task.save = [&options, &folder](train::BertForSequenceClassificationImpl& model) {
    save_bert_folder(options.training.output_dir, model, folder.tokenizer);
    fmt::print("Model saved in {}\n", options.training.output_dir);
    std::fflush(stdout);
  };
  return task;
}

/// Returns the exit code.
int train_bert(const BertClassifyOptions& options) {
  const base::TimePoint start = base::Clock::now();
  const Processes processes = join(options.processes);
  const BertFolder folder = options.model.empty()
                                ? open_random_bert(options.config_name, options.tokenizer_name)
                                : open_bert_folder(options.model, options.tokenizer_name);
  check_lengths(options, folder);
  TextDataOptions reading = {options.columns, !options.no_header, options.max_train_samples,
                             options.training.seed};
  const io::TextDataset texts = read_texts(options.train_file, reading, folder.labels);
  const std::vector<std::string>& labels = texts.labels;
  const TokenizedDataset training = tokenize(texts, folder, options.max_seq_length);
  std::optional<TokenizedDataset> evaluation;
  if (!options.validation_file.empty()) {
    reading.max_samples = options.max_eval_samples;
    evaluation = tokenize(read_texts(options.validation_file, reading, labels), folder,
                          options.max_seq_length);
  }
  LoadedBert bert = load_bert(folder, labels, options.dropout, options.training.seed);
  say_what_was_loaded(processes, folder, bert.report);
  say(processes, fmt::format("Labels: {}", fmt::join(labels, ", ")));
  say_sizes(processes, "Training", training);
  if (evaluation) {
    say_sizes(processes, "Evaluation", *evaluation);
  }
  const BertClassifyTask::Options task = task_options(options, folder);
  if (options.output.init_only) {
    if (processes.first()) {
      task.save(*bert.model);
    }
    return cli::kExitDone;
  }
  BertClassifyTask job(bert.model, training, evaluation ? &*evaluation : nullptr, processes.group,
                       task);
  return run_task(job, processes, options.training, options.output, {start, "accuracy"});
}

}  // namespace

int bert_classify_command(const std::vector<std::string>& arguments) {
  BertClassifyOptions options = bert_classify_defaults();
  CLI::App app("", "gamelan train bert-classify");
  add_bert_classify_options(app, options);
  if (const auto code = cli::parse(app, arguments)) {
    return *code;
  }
  if (const auto error = find_usage_error(options)) {
    return cli::usage_error(app, *error);
  }
  return run_verb("bert-classify", [&] { return train_bert(options); });
}

}  // namespace gamelan::apps
