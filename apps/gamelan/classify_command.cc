#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "gamelan/commands.h"
#include "gamelan/encoder_session.h"

namespace gamelan::apps {
namespace {

struct Options {
  ModelOptions model;
  std::vector<std::string> texts;
  std::int64_t max_seq_length = 0;
  bool json = false;
};

/// The probability of the largest logit.
double softmax_of_best(const std::vector<float>& logits, std::size_t best) {
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - logits[best]);
  }
  return 1 / sum;
}

void print_class(const Options& options, const io::ModelConfig& config, const std::string& text,
                 const std::vector<float>& logits) {
  const auto best =
      static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  const std::string label = io::label_name(config, static_cast<std::int64_t>(best));
  const double score = softmax_of_best(logits, best);
  if (options.json) {
    fmt::print(
        "{}\n",
        nlohmann::json{{"label", label}, {"score", score}, {"logits", logits}, {"text", text}}.dump(
            -1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{:<10} {:.3f}  {}\n", label, score, text);
  }
}

base::Status classify(const Options& options) {
  GAMELAN_ASSIGN_OR_RETURN(const auto session,
                           EncoderSession::open(options.model, options.max_seq_length));
  const std::vector<std::string> texts = texts_or_lines(options.texts);
  const io::ModelConfig& config = session->model().config();
  std::vector<std::vector<float>> logits(texts.size());
  GAMELAN_RETURN_IF_ERROR(session->for_batches(texts, [&](const TextBatch& batch) {
    const auto count = static_cast<std::int64_t>(batch.texts.size());
    std::vector<float> values(batch.texts.size() * static_cast<std::size_t>(config.num_labels));
    const tensor::MatrixView<float> rows(values.data(), count, config.num_labels);
    GAMELAN_RETURN_IF_ERROR(session->model().classify(batch.packed(), rows));
    for (std::int64_t i = 0; i < count; ++i) {
      logits[batch.texts[static_cast<std::size_t>(i)]].assign(rows.row(i),
                                                              rows.row(i) + rows.columns);
    }
    return base::OkStatus();
  }));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    print_class(options, config, texts[i], logits[i]);
  }
  return base::OkStatus();
}

}  // namespace

int classify_command(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app("", "gamelan classify");
  cli::describe(app, "gamelan classify --model out --text \"A fine film.\"",
                "Classifies texts with a BERT folder that has a classifier: one that 'gamelan "
                "train bert-classify' or HuggingFace saved.");
  add_model_options(app, options.model);
  add_tokenizer_option(app, options.model);
  add_text_option(app, options.texts);
  app.add_option("--max-seq-length,--max-length", options.max_seq_length,
                 "Tokens a text is cut to (default: what the model has)")
      ->check(CLI::Range(std::int64_t{3}, std::int64_t{1} << 20));
  app.add_flag("--json", options.json, "One JSON object a text, with the logits");
  if (const auto code = cli::parse(app, arguments)) {
    return *code;
  }
  if (const base::Status status = classify(options); !status.ok()) {
    fmt::print(stderr, "gamelan classify: {}\n", base::message(status));
    return cli::kExitFailed;
  }
  return cli::kExitDone;
}

}  // namespace gamelan::apps
