#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/arguments.h"
#include "gamelan/engine_arguments.h"
#include "infer/engine/request.h"
#include "io/model_config.h"
#include "text/tokenizer.h"

namespace gamelan::apps {

struct GenerateArguments {
  EngineArguments engine;
  std::vector<std::string> prompts;
  std::string prompt_file;
  std::vector<std::string> input_ids;
  /// The request without its prompt. max_new_tokens 0 = kDefaultNewTokens, or what fits.
  infer::Request request;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> stop;
  std::vector<std::string> bad_words;
  bool ignore_eos = false;
  int log_probabilities = -1;
  std::string assistant_model;
  bool json = false;
  bool stream = false;
  bool echo = false;
  bool verbose = false;
};

void add_generate_options(CLI::App& app, GenerateArguments& arguments);

/// What contradicts itself, or lacks what it needs, before anything is loaded.
base::Status check_arguments(const GenerateArguments& arguments);

/// Given options of sampling that change nothing at temperature 0. transformers warns of them too
/// and goes on.
std::vector<std::string> without_effect(const GenerateArguments& arguments);

/// Adds the text of --prompt-file to those of --prompt.
base::Status read_prompt_file(GenerateArguments& arguments);

/// One request a prompt; read_prompt_file() comes before. `tokenizer` may be null when nothing is
/// given as text.
base::StatusOr<std::vector<infer::Request>> make_requests(const GenerateArguments& arguments,
                                                          const io::ModelConfig& config,
                                                          const text::Tokenizer* tokenizer);

}  // namespace gamelan::apps
