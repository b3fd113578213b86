#include "gamelan/eval_lambada.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/progress_bar.h"
#include "gamelan/lambada_options.h"
#include "gamelan/lambada_rows.h"
#include "infer/engine/engine.h"
#include "io/atomic_file.h"
#include "io/model_files.h"

namespace gamelan::apps {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

struct Result {
  std::vector<LambadaTokens> rows;
  /// What was generated for each row.
  std::vector<std::vector<text::TokenId>> outputs;
  /// Of each output, the sum of its tokens' log-probabilities.
  std::vector<double> log_probabilities;
  Seconds generation{};
  Seconds total{};
  infer::EngineStatistics statistics;

  std::size_t correct() const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      count += outputs[i] == rows[i].target ? 1 : 0;
    }
    return count;
  }
  double accuracy() const {
    return 100.0 * static_cast<double>(correct()) / static_cast<double>(rows.size());
  }
};

/// Runs all rows through the engine, which works on as many at a time as the batch has.
class LambadaRun {
 public:
  LambadaRun(const LambadaOptions& options, infer::Engine& engine, Result& result)
      : options_(options),
        engine_(engine),
        result_(result),
        bar_({.title = "LAMBADA",
              .total = static_cast<std::int64_t>(result.rows.size()),
              .unit = "row",
              .enabled = options.show_progress}) {}

  base::Status run() {
    const std::size_t count = result_.rows.size();
    result_.outputs.resize(count);
    result_.log_probabilities.resize(count);
    // Twice the batch waits or runs, so that a place that becomes free is taken in the next step.
    const std::size_t queued = 2 * static_cast<std::size_t>(options_.batch_size);
    for (std::size_t next = 0; next < count || !engine_.idle();) {
      for (; next < count && rows_.size() < queued; ++next) {
        GAMELAN_RETURN_IF_ERROR(submit(next));
      }
      const auto start = Clock::now();
      GAMELAN_ASSIGN_OR_RETURN(const std::vector<infer::Event> events, engine_.step());
      result_.generation += Clock::now() - start;
      for (const infer::Event& event : events) {
        GAMELAN_RETURN_IF_ERROR(take(event));
      }
    }
    bar_.finish();
    result_.statistics = engine_.statistics();
    return base::OkStatus();
  }

 private:
  base::Status submit(std::size_t row) {
    infer::Request request = request_of(options_, row);
    request.prompt = result_.rows[row].input;
    request.max_new_tokens = static_cast<int>(result_.rows[row].target.size());
    const base::StatusOr<infer::RequestId> id = engine_.submit(std::move(request));
    if (!id.ok()) {
      return base::annotate(id.status(), fmt::format("{}: row {}", options_.dataset_path, row + 1));
    }
    rows_[*id] = row;
    return base::OkStatus();
  }

  base::Status take(const infer::Event& event) {
    const std::size_t row = rows_.at(event.request);
    std::vector<text::TokenId>& output = result_.outputs[row];
    output.insert(output.end(), event.tokens.begin(), event.tokens.end());
    for (const float log_probability : event.log_probabilities) {
      result_.log_probabilities[row] += log_probability;
    }
    if (event.finish == infer::FinishReason::kError) {
      return base::internal("{}: row {}: {}", options_.dataset_path, row + 1, event.error);
    }
    if (event.last) {
      rows_.erase(event.request);
      bar_.advance();
    }
    return base::OkStatus();
  }

  const LambadaOptions& options_;
  infer::Engine& engine_;
  Result& result_;
  base::ProgressBar bar_;
  std::map<infer::RequestId, std::size_t> rows_;
};

base::Status write_rows(const LambadaOptions& options, const text::Tokenizer& tokenizer,
                        const Result& result) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < result.rows.size(); ++i) {
    const LambadaTokens& row = result.rows[i];
    rows.push_back({{"input_ids", row.input},
                    {"target_ids", row.target},
                    {"output_ids", result.outputs[i]},
                    {"target", tokenizer.decode(row.target, false)},
                    {"output", tokenizer.decode(result.outputs[i], false)},
                    {"correct", result.outputs[i] == row.target}});
    if (options.return_cum_log_probs > 0) {
      rows.back()["cum_log_probs"] = result.log_probabilities[i];
    }
  }
  return io::write_file(options.output_path,
                        rows.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void print_result(const LambadaOptions& options, const LoadedModel& loaded, const Result& result) {
  if (options.json) {
    fmt::print("{}\n",
               nlohmann::ordered_json{{"accuracy", result.accuracy()},
                                      {"correct", result.correct()},
                                      {"rows", result.rows.size()},
                                      {"generation_seconds", result.generation.count()},
                                      {"load_seconds", loaded.load_time.count()},
                                      {"total_seconds", result.total.count()},
                                      {"steps", result.statistics.steps},
                                      {"prompt_tokens", result.statistics.prompt_tokens},
                                      {"shared_tokens", result.statistics.shared_tokens},
                                      {"generated_tokens", result.statistics.generated_tokens},
                                      {"batch_size", options.batch_size},
                                      {"model", loaded.model->description()}}
                   .dump(2));
    return;
  }
  fmt::print("Accuracy: {:.4f}% ({}/{}) (elapsed time: {:.4f} sec)\n", result.accuracy(),
             result.correct(), result.rows.size(), result.generation.count());
  fmt::print("Total: {:.4f} sec, {:.4f} of them to load the model ({})\n", result.total.count(),
             loaded.load_time.count(), loaded.model->description());
}

/// False when the accuracy is below the threshold.
base::StatusOr<bool> run(const LambadaOptions& options) {
  const auto start = Clock::now();
  GAMELAN_ASSIGN_OR_RETURN(const LoadedModel loaded, load_model(options.engine));
  if (!loaded.leads()) {
    GAMELAN_RETURN_IF_ERROR(loaded.parallel->serve_steps());
    return true;
  }
  if (!options.ignored.empty()) {
    fmt::print(stderr,
               "gamelan eval lambada: {}: ignored; the checkpoint says, or nothing depends on it\n",
               fmt::join(options.ignored, ", "));
  }
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelFiles files,
                           io::load_model_files(options.engine.model.model));
  GAMELAN_ASSIGN_OR_RETURN(const std::unique_ptr<text::Tokenizer> tokenizer,
                           load_tokenizer_of(options.engine.model, files.tokenizer_path));
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<LambadaRow> rows, load_lambada(options.dataset_path));
  Result result;
  result.rows.reserve(rows.size());
  for (const LambadaRow& row : rows) {
    result.rows.push_back(tokenize_row(*tokenizer, row));
  }
  GAMELAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<infer::Engine> engine,
      infer::Engine::create(*loaded.model, options.engine.engine_options(*loaded.model)));
  GAMELAN_RETURN_IF_ERROR(LambadaRun(options, *engine, result).run());
  result.total = Clock::now() - start;
  print_result(options, loaded, result);
  if (!options.output_path.empty()) {
    GAMELAN_RETURN_IF_ERROR(write_rows(options, *tokenizer, result));
  }
  if (!options.acc_threshold) {
    return true;
  }
  const bool passed = result.accuracy() >= *options.acc_threshold;
  fmt::print(options.json ? stderr : stdout, "{}\n",
             passed ? "TEST PASS"
                    : fmt::format("TEST FAIL: expected an accuracy of at least {}%, got "
                                  "{:.4f}%",
                                  *options.acc_threshold, result.accuracy()));
  return passed;
}

}  // namespace

int eval_lambada(const std::vector<std::string>& arguments) {
  LambadaOptions options;
  CLI::App app("", "gamelan eval lambada");
  cli::describe(app,
                "gamelan eval lambada --checkpoint-path OUT --tokenizer-path bloom --dataset-path "
                "lambada_test.jsonl",
                "Predicts the last word of each passage of LAMBADA, token by token, with the "
                "options of FasterTransformer's bloom_lambada.py.");
  add_lambada_options(app, options);
  if (const auto code = cli::parse(app, with_lambada_names(arguments))) {
    return *code;
  }
  if (options.test_hf) {
    fmt::print(stderr,
               "gamelan eval lambada: --test-hf: transformers runs the same rows by\n"
               "  python bench/peers/lambada_hf.py --model {} --dataset-path {} --batch-size {}\n",
               options.engine.model.model, options.dataset_path, options.batch_size);
    return cli::kExitUsage;
  }
  if (const base::Status status = settle(app, options); !status.ok()) {
    return cli::usage_error(app, base::message(status));
  }
  const base::StatusOr<bool> passed = run(options);
  if (!passed.ok()) {
    fmt::print(stderr, "gamelan eval lambada: {}\n", base::message(passed.status()));
    return cli::kExitFailed;
  }
  return *passed ? cli::kExitDone : cli::kExitFailed;
}

}  // namespace gamelan::apps
