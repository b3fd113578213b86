#include "gamelan/eval_perplexity.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/progress_bar.h"
#include "cli/arguments.h"
#include "gamelan/engine_arguments.h"
#include "infer/engine/perplexity.h"
#include "io/mapped_file.h"
#include "io/model_files.h"

namespace gamelan::apps {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  EngineArguments engine;
  std::string text_file;
  std::int64_t max_length = 0;
  std::int64_t stride = 0;
  std::int64_t max_tokens = 0;
  bool disable_tqdm = false;
  bool json = false;
};

base::StatusOr<std::vector<text::TokenId>> read_tokens(const Options& options) {
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelFiles files,
                           io::load_model_files(options.engine.model.model));
  GAMELAN_ASSIGN_OR_RETURN(const std::unique_ptr<text::Tokenizer> tokenizer,
                           load_tokenizer_of(options.engine.model, files.tokenizer_path));
  GAMELAN_ASSIGN_OR_RETURN(const io::MappedFile file, io::MappedFile::open(options.text_file));
  std::vector<text::TokenId> tokens = tokenizer->encode(file.text());
  if (options.max_tokens > 0 && static_cast<std::int64_t>(tokens.size()) > options.max_tokens) {
    tokens.resize(static_cast<std::size_t>(options.max_tokens));
  }
  return tokens;
}

base::Status run(const Options& options) {
  GAMELAN_ASSIGN_OR_RETURN(const LoadedModel loaded, load_model(options.engine));
  if (!loaded.leads()) {
    return loaded.parallel->serve_steps();
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<text::TokenId> tokens, read_tokens(options));
  const infer::EngineOptions engine = options.engine.engine_options(*loaded.model);
  base::ProgressBar bar({.title = "Perplexity",
                         .total = static_cast<std::int64_t>(tokens.size()),
                         .unit = "token",
                         .enabled = !options.disable_tqdm});
  const auto start = Clock::now();
  const base::StatusOr<infer::Perplexity> measured = infer::measure_perplexity(
      *loaded.model, tokens,
      {.window = options.max_length, .stride = options.stride, .cache = engine.cache},
      [&bar](std::int64_t count) { bar.advance(count); });
  const std::chrono::duration<double> seconds = Clock::now() - start;
  bar.finish();
  if (!measured.ok()) {
    return base::annotate(measured.status(), options.text_file);
  }
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"perplexity", measured->value()},
                                              {"negative_log_likelihood",
                                               measured->negative_log_likelihood},
                                              {"tokens", measured->tokens},
                                              {"text_tokens", tokens.size()},
                                              {"seconds", seconds.count()},
                                              {"model", loaded.model->description()}}
                           .dump(2));
    return base::OkStatus();
  }
  fmt::print("Perplexity: {:.4f} ({} tokens foretold of {}, {:.1f} sec, {})\n", measured->value(),
             measured->tokens, tokens.size(), seconds.count(), loaded.model->description());
  return base::OkStatus();
}

}  // namespace

int eval_perplexity(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app("", "gamelan eval perplexity");
  cli::describe(app, "gamelan eval perplexity --model DIR --text-file valid.txt",
                "Measures how well a model foretells a text: the exponential of the mean of "
                "-log(probability) over its tokens, in windows of --max-length tokens.");
  add_model_options(app, options.engine.model);
  add_tokenizer_option(app, options.engine.model);
  add_parallel_options(app, options.engine);
  app.add_option("--text-file", options.text_file, "The text, one document of any length")
      ->required();
  app.add_option("--max-length", options.max_length,
                 "Tokens of a window (default: as many as the model takes; 1024 without a limit)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--stride", options.stride,
                 "Tokens that a window moves on; the others are context (default: --max-length)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-tokens", options.max_tokens, "Only the first tokens of the text")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--disable-tqdm", options.disable_tqdm, "No progress bar");
  app.add_flag("--json", options.json, "Print the result as JSON");
  if (const auto code = cli::parse(app, arguments)) {
    return *code;
  }
  if (const base::Status status = options.engine.check(); !status.ok()) {
    return cli::usage_error(app, base::message(status));
  }
  if (const base::Status status = run(options); !status.ok()) {
    fmt::print(stderr, "gamelan eval perplexity: {}\n", base::message(status));
    return cli::kExitFailed;
  }
  return cli::kExitDone;
}

}  // namespace gamelan::apps
