#include "gamelan/model_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "device/cpu.h"
#include "io/load_tokenizer.h"

namespace gamelan::apps {
namespace {

// "" is good; anything else is what CLI11 prints.
std::string check_dtype(const std::string& name) {
  if (name == "auto" || kernels::scheme_from_name(name)) {
    return "";
  }
  return fmt::format("--dtype: expected auto, {}, got '{}'", kernels::scheme_names(), name);
}

int local_world_size() {
  const char* const text = std::getenv("LOCAL_WORLD_SIZE");
  int size = 1;
  if (text != nullptr) {
    const std::string_view digits(text);
    std::from_chars(digits.data(), digits.data() + digits.size(), size);
  }
  return std::max(size, 1);
}

}  // namespace

void add_model_options(CLI::App& app, ModelOptions& options) {
  app.add_option("--model,--model-name-or-path,--checkpoint-path", options.model,
                 "HuggingFace or FasterTransformer folder, GGUF or llama2.c file")
      ->required();
  app.add_option("--dtype", options.dtype,
                 fmt::format("Numbers of the weights: auto (bf16 for 16-bit files), {}",
                             kernels::scheme_names()))
      ->check(check_dtype)
      ->capture_default_str();
  app.add_option("--threads", options.threads,
                 "Threads (default: the CPUs, shared by the processes of this host)")
      ->check(CLI::Range(0, 1024));
}

void add_tokenizer_option(CLI::App& app, ModelOptions& options) {
  app.add_option("--tokenizer-path", options.tokenizer_path,
                 "Folder or file of the tokenizer (default: the model's)");
}

std::optional<kernels::WeightScheme> scheme_of(const ModelOptions& options) {
  return options.dtype == "auto" ? std::nullopt : kernels::scheme_from_name(options.dtype);
}

int threads_of(const ModelOptions& options) {
  return options.threads > 0 ? options.threads
                             : std::max(1, device::usable_cpu_count() / local_world_size());
}

base::StatusOr<std::unique_ptr<text::Tokenizer>> load_tokenizer_of(const ModelOptions& options,
                                                                   const std::string& of_model) {
  const std::string& path = options.tokenizer_path.empty() ? of_model : options.tokenizer_path;
  if (path.empty()) {
    return base::not_found("{}: holds no tokenizer; name one with --tokenizer-path", options.model);
  }
  return io::load_tokenizer(path);
}

ComputeContext::ComputeContext(int threads)
    : pool_({.threads = threads}), context_{.threads = &pool_, .workspace = &arena_} {}

}  // namespace gamelan::apps
