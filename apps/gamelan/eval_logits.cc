#include "gamelan/eval_logits.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/arguments.h"
#include "gamelan/model_options.h"
#include "infer/model/encoder_model.h"
#include "infer/model/load_model.h"
#include "io/model_config.h"
#include "io/model_files.h"
#include "io/npy.h"

namespace gamelan::apps {
namespace {

struct Options {
  ModelOptions model;
  std::vector<text::TokenId> input_ids;
  std::vector<text::TokenId> token_types;
  std::string out;
};

constexpr std::int64_t kBlockTokens = 16;

/// Rows of f32 with the memory behind them.
struct Rows {
  std::vector<float> values;
  tensor::MatrixView<float> view;

  Rows(std::int64_t rows, std::int64_t columns)
      : values(static_cast<std::size_t>(rows * columns)), view(values.data(), rows, columns) {}
};

base::StatusOr<Rows> run_decoder(const Options& options, const kernels::Context& context) {
  GAMELAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<infer::CausalModel> model,
      infer::load_causal_model(options.model.model, context,
                               {.scheme = scheme_of(options.model), .parallel = {}}));
  const auto tokens = static_cast<std::int32_t>(options.input_ids.size());
  const io::ModelConfig& config = model->config();
  // Slopes and rotations go on beyond the length that a model was made for; a table ends.
  if (config.positions == io::Positions::kLearned && tokens > config.max_positions) {
    return base::invalid_argument("--input-ids: {} tokens, but the model takes {}", tokens,
                                  config.max_positions);
  }
  const std::int64_t blocks = (tokens + kBlockTokens - 1) / kBlockTokens;
  GAMELAN_RETURN_IF_ERROR(model->create_cache({tensor::DType::kF32, kBlockTokens}, blocks));
  infer::StepPlan plan;
  plan.tokens = options.input_ids;
  for (std::int32_t block = 0; block < blocks; ++block) {
    plan.blocks.push_back(block);
  }
  plan.sequences = {{tokens, 0, tokens, 0, static_cast<std::int32_t>(blocks)}};
  Rows logits(tokens, config.vocab_size);
  GAMELAN_RETURN_IF_ERROR(model->forward(plan, logits.view));
  return logits;
}

base::StatusOr<Rows> run_encoder(const Options& options, const kernels::Context& context) {
  GAMELAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<infer::EncoderModel> model,
      infer::load_encoder_model(options.model.model, context,
                                {.scheme = scheme_of(options.model), .parallel = {}}));
  const auto tokens = static_cast<std::int64_t>(options.input_ids.size());
  Rows hidden(tokens, model->config().hidden_size);
  const std::vector<std::int64_t> offsets = {0, tokens};
  GAMELAN_RETURN_IF_ERROR(
      model->encode({options.input_ids, options.token_types, offsets}, hidden.view));
  return hidden;
}

base::Status run(const Options& options) {
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelFiles files, io::load_model_files(options.model.model));
  if (files.config.causal && !options.token_types.empty()) {
    return base::invalid_argument("--token-type-ids: {} is no encoder; its tokens have no types",
                                  options.model.model);
  }
  const ComputeContext context(threads_of(options.model));
  GAMELAN_ASSIGN_OR_RETURN(const Rows rows, files.config.causal ? run_decoder(options, *context)
                                                                : run_encoder(options, *context));
  GAMELAN_RETURN_IF_ERROR(io::write_npy(options.out, rows.view));
  fmt::print("{}: {} [{}, {}]\n", options.out, files.config.causal ? "logits" : "hidden states",
             rows.view.rows, rows.view.columns);
  return base::OkStatus();
}

}  // namespace

int eval_logits(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app("", "gamelan eval logits");
  cli::describe(app, "gamelan eval logits --model DIR --input-ids 5,17,3 --out logits.npy",
                "Runs a model over tokens and writes its logits [tokens, vocabulary] as f32; of an "
                "encoder its hidden states [tokens, hidden size]. For scripts that compare.");
  add_model_options(app, options.model);
  app.add_option("--input-ids", options.input_ids,
                 "Token ids, separated by commas; more than the model's context where its "
                 "positions go on (ALiBi, rotary)")
      ->delimiter(',')
      ->required();
  app.add_option("--token-type-ids", options.token_types,
                 "Of an encoder, the type of each token (default: all 0)")
      ->delimiter(',');
  app.add_option("--out", options.out, "The NumPy file to write")->required();
  if (const auto code = cli::parse(app, arguments)) {
    return *code;
  }
  if (!options.token_types.empty() && options.token_types.size() != options.input_ids.size()) {
    return cli::usage_error(app, fmt::format("--token-type-ids: expected {}, one for each of "
                                             "--input-ids, got {}",
                                             options.input_ids.size(), options.token_types.size()));
  }
  if (const base::Status status = run(options); !status.ok()) {
    fmt::print(stderr, "gamelan eval logits: {}\n", base::message(status));
    return cli::kExitFailed;
  }
  return cli::kExitDone;
}

}  // namespace gamelan::apps
