#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/arguments.h"
#include "gamelan/engine_arguments.h"
#include "infer/engine/request.h"

namespace gamelan::apps {

/// The options of FasterTransformer's bloom_lambada.py, by their names, beside Gamelan's own.
struct LambadaOptions {
  EngineArguments engine;
  std::string dataset_path;
  std::string output_path;
  int batch_size = 16;
  bool show_progress = false;
  bool test_hf = false;
  bool json = false;
  std::optional<double> acc_threshold;

  // How a target is generated; greedy unless said otherwise.
  int beam_width = 1;
  int top_k = 1;
  double top_p = 1.0;
  double temperature = 1.0;
  double len_penalty = 0.0;
  double diversity_rate = 0.0;
  double repetition_penalty = 1.0;
  std::optional<text::TokenId> end_id;
  /// Row i has the seed i modulo their number.
  std::vector<std::uint64_t> random_seed = {0};
  int return_cum_log_probs = 0;

  // As --dtype.
  std::string inference_data_type;
  int int8_mode = 0;
  /// Given, but their values are in the checkpoint, or mean nothing here: named once.
  std::vector<std::string> ignored;
};

/// Adds the options to `app`, bound to `options`. `-tp` and `-pp` are expanded by
/// with_lambada_names.
void add_lambada_options(CLI::App& app, LambadaOptions& options);
/// The script's short names of two letters, which CLI11 does not know.
std::vector<std::string> with_lambada_names(std::vector<std::string> arguments);

/// Brings the script's options into Gamelan's: the type of numbers, the batch. kInvalidArgument for
/// those that contradict each other. Adds those without effect to `ignored`.
base::Status settle(const CLI::App& app, LambadaOptions& options);

/// Everything of a row's request but prompt and length. `seed_index`: the row's number.
infer::Request request_of(const LambadaOptions& options, std::size_t row);

}  // namespace gamelan::apps
