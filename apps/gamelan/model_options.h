#pragma once

// What every verb that runs a model has in common: which model, in which numbers, on how many
// threads.

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "device/arena.h"
#include "device/thread_pool.h"
#include "kernels/context.h"
#include "kernels/weight_scheme.h"
#include "text/tokenizer.h"

namespace gamelan::apps {

struct ModelOptions {
  std::string model;
  /// A scheme's name or "auto".
  std::string dtype = "auto";
  /// 0 = see threads_of.
  int threads = 0;
  /// Empty = the model's own.
  std::string tokenizer_path;
};

/// --model, --dtype and --threads.
void add_model_options(CLI::App& app, ModelOptions& options);
/// --tokenizer-path, of the verbs that take or write text.
void add_tokenizer_option(CLI::App& app, ModelOptions& options);

/// nullopt for "auto". REQUIRES: parsed by add_model_options.
std::optional<kernels::WeightScheme> scheme_of(const ModelOptions& options);

/// options.threads, or this process's share of the CPUs that may be used: of all processes that
/// `gamelan run` started on this host (LOCAL_WORLD_SIZE) each has as many.
int threads_of(const ModelOptions& options);

/// The tokenizer of --tokenizer-path or, when that is empty, the model's; the message says how to
/// name one when the model has none.
base::StatusOr<std::unique_ptr<text::Tokenizer>> load_tokenizer_of(const ModelOptions& options,
                                                                   const std::string& of_model);

/// Threads and workspace of a verb that runs a model.
class ComputeContext {
 public:
  explicit ComputeContext(int threads);
  const kernels::Context& operator*() const { return context_; }

 private:
  device::ThreadPool pool_;
  device::Arena arena_;
  kernels::Context context_;
};

}  // namespace gamelan::apps
