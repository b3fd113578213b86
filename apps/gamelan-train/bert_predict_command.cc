#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "gamelan-train/bert_classify_task.h"
#include "gamelan-train/bert_folder.h"
#include "gamelan-train/commands.h"
#include "gamelan-train/run_job.h"
#include "train/data/tokenized_dataset.h"

namespace gamelan::apps {
namespace {

struct PredictOptions {
  std::string model;
  std::vector<std::string> texts;
  std::int64_t max_seq_length = 512;
  std::int64_t batch_size = 32;
  int threads = 0;
  bool bf16 = false;
  bool json = false;
};

std::vector<std::string> lines_of(std::istream& input) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(input, line);) {
    if (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    lines.push_back(line);
  }
  return lines;
}

std::vector<float> row_of(const at::Tensor& matrix, std::size_t i) {
  const float* row = matrix.const_data_ptr<float>() + i * matrix.size(1);
  return {row, row + matrix.size(1)};
}

void print_classes(const PredictOptions& options, const std::vector<std::string>& texts,
                   const at::Tensor& logits, const std::vector<std::string>& labels) {
  const at::Tensor probabilities = logits.softmax(1);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const at::Tensor row = probabilities[static_cast<std::int64_t>(i)];
    const auto best = row.argmax().item<std::int64_t>();
    const double score = row[best].item<double>();
    if (options.json) {
      fmt::print("{}\n", nlohmann::json{{"label", labels[best]},
                                        {"score", score},
                                        {"logits", row_of(logits, i)},
                                        {"text", texts[i]}}
                             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      fmt::print("{:<10} {:.3f}  {}\n", labels[best], score, texts[i]);
    }
  }
}

void predict(const PredictOptions& options) {
  if (options.threads > 0) {
    at::set_num_threads(options.threads);
  }
  const BertFolder folder = open_bert_folder(options.model, "");
  TORCH_CHECK_VALUE(!folder.labels.empty(), options.model,
                    ": expected a classifier, got a checkpoint without classifier.weight; "
                    "fine-tune it with bert-classify");
  const std::vector<std::string> texts = options.texts.empty() ? lines_of(std::cin) : options.texts;
  LoadedBert bert = load_bert(folder, folder.labels, {}, 0);
  train::TokenizedDataset data(
      folder.tokenizer, static_cast<std::size_t>(std::min(options.max_seq_length,
                                                          folder.config.max_position_embeddings)));
  for (const std::string& text : texts) {
    data.append(text, {}, 0);
  }
  std::vector<std::size_t> all(texts.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  const at::Tensor logits =
      classify(*bert.model, data, all, options.batch_size, options.bf16, [](std::int64_t) {});
  print_classes(options, texts, logits, folder.labels);
}

}  // namespace

int bert_predict_command(const std::vector<std::string>& arguments) {
  PredictOptions options;
  CLI::App app("", "gamelan train bert-predict");
  cli::describe(app, "gamelan train bert-predict --model-name-or-path out --text \"A fine film.\"",
                "Classifies texts with a folder that bert-classify, or HuggingFace, saved.");
  app.add_option("--model-name-or-path", options.model, "HuggingFace folder with a classifier")
      ->required();
  app.add_option("--text", options.texts, "A text; may be repeated (default: lines of stdin)")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--max-seq-length,--max-length", options.max_seq_length)
      ->check(CLI::Range(std::int64_t{3}, std::int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--per-device-eval-batch-size", options.batch_size)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Threads (default: OMP_NUM_THREADS, else all CPUs)")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--bf16", options.bf16, "Matrix products in bfloat16");
  app.add_flag("--json", options.json, "One JSON object a text, with the logits");
  if (const auto code = cli::parse(app, arguments)) {
    return *code;
  }
  return run_verb("bert-predict", [&] {
    predict(options);
    return cli::kExitDone;
  });
}

}  // namespace gamelan::apps
