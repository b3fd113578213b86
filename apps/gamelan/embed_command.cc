#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "gamelan/commands.h"
#include "gamelan/encoder_session.h"
#include "io/npy.h"

namespace gamelan::apps {
namespace {

struct Options {
  ModelOptions model;
  std::vector<std::string> texts;
  std::string pooling = "auto";
  std::string normalize = "auto";
  std::int64_t max_seq_length = 0;
  std::string out;
  bool json = false;
};

infer::Pooling pooling_of(const Options& options, const io::SentenceConfig& config) {
  if (options.pooling == "auto") {
    return config.pooling == io::SentenceConfig::Pooling::kCls ? infer::Pooling::kCls
                                                               : infer::Pooling::kMean;
  }
  return options.pooling == "cls" ? infer::Pooling::kCls : infer::Pooling::kMean;
}

void print_rows(const Options& options, const std::vector<std::string>& texts,
                tensor::MatrixView<const float> rows) {
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    const std::vector<float> row(rows.row(i), rows.row(i) + rows.columns);
    if (options.json) {
      fmt::print(
          "{}\n",
          nlohmann::json{{"text", texts[static_cast<std::size_t>(i)]}, {"embedding", row}}.dump(
              -1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      fmt::print("{}\n", fmt::join(row, " "));
    }
  }
}

base::Status embed(const Options& options) {
  GAMELAN_ASSIGN_OR_RETURN(const auto session,
                           EncoderSession::open(options.model, options.max_seq_length));
  const std::vector<std::string> texts = texts_or_lines(options.texts);
  const io::SentenceConfig& config = session->sentence_config();
  const bool normalize =
      options.normalize == "auto" ? config.normalize.value_or(false) : options.normalize == "true";
  const std::int64_t width = session->model().config().hidden_size;
  std::vector<float> values(texts.size() * static_cast<std::size_t>(width));
  const tensor::MatrixView<float> all(values.data(), static_cast<std::int64_t>(texts.size()),
                                      width);
  GAMELAN_RETURN_IF_ERROR(session->for_batches(texts, [&](const TextBatch& batch) {
    std::vector<float> some(batch.texts.size() * static_cast<std::size_t>(width));
    const tensor::MatrixView<float> rows(some.data(), static_cast<std::int64_t>(batch.texts.size()),
                                         width);
    GAMELAN_RETURN_IF_ERROR(
        session->model().embed(batch.packed(), pooling_of(options, config), normalize, rows));
    for (std::int64_t i = 0; i < rows.rows; ++i) {
      const auto to = static_cast<std::int64_t>(batch.texts[static_cast<std::size_t>(i)]);
      std::copy_n(rows.row(i), width, all.row(to));
    }
    return base::OkStatus();
  }));
  if (options.out.empty()) {
    print_rows(options, texts, all);
    return base::OkStatus();
  }
  return io::write_npy(options.out, all);
}

}  // namespace

int embed_command(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app("", "gamelan embed");
  cli::describe(app, "gamelan embed --model minilm --text \"A fine film.\" --json",
                "Turns texts into vectors with a BERT folder.");
  add_model_options(app, options.model);
  add_tokenizer_option(app, options.model);
  add_text_option(app, options.texts);
  app.add_option("--pooling", options.pooling,
                 "mean or cls (auto: as the folder's modules.json says, else mean)")
      ->check(CLI::IsMember({"auto", "mean", "cls"}))
      ->capture_default_str();
  app.add_option("--normalize", options.normalize,
                 "Vectors of length 1: true or false (auto: as modules.json says, else false)")
      ->check(CLI::IsMember({"auto", "true", "false"}))
      ->capture_default_str();
  app.add_option("--max-seq-length,--max-length", options.max_seq_length,
                 "Tokens a text is cut to (default: as the folder says)")
      ->check(CLI::Range(std::int64_t{3}, std::int64_t{1} << 20));
  app.add_option("--out", options.out, "Write a NumPy file [texts, width] instead of printing");
  app.add_flag("--json", options.json, "One JSON object a text");
  if (const auto code = cli::parse(app, arguments)) {
    return *code;
  }
  if (options.json && !options.out.empty()) {
    return cli::usage_error(app, "--json: expected either --json or --out, got both");
  }
  if (const base::Status status = embed(options); !status.ok()) {
    fmt::print(stderr, "gamelan embed: {}\n", base::message(status));
    return cli::kExitFailed;
  }
  return cli::kExitDone;
}

}  // namespace gamelan::apps
