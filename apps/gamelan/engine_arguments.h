#pragma once

// What every verb that generates has in common: the model, its cache, the ranks that run it.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "cli/arguments.h"
#include "gamelan/model_options.h"
#include "infer/engine/engine.h"
#include "infer/model/causal_model.h"
#include "infer/parallel/parallel_job.h"
#include "infer/parallel/parallel_model.h"

namespace gamelan::apps {

struct EngineArguments {
  ModelOptions model;
  std::string kv_cache_dtype = "auto";
  std::uint64_t kv_cache_memory = std::uint64_t{1} << 30;
  int tensor_parallel_size = 1;
  int pipeline_parallel_size = 1;
  int max_batched_tokens = 512;
  int max_sequences = 256;

  /// kInvalidArgument naming the option.
  base::Status check() const;
  /// Of the engine, for `model`.
  infer::EngineOptions engine_options(const infer::CausalModel& model) const;
};

/// Adds the options to `app` that say how the model runs, bound to `arguments`: its cache's
/// numbers, the ranks. add_model_options() adds the model's.
void add_parallel_options(CLI::App& app, EngineArguments& arguments);
/// The same and those of an engine: memory, batches.
void add_engine_options(CLI::App& app, EngineArguments& arguments);

/// A loaded model and all that it stands on. On ranks other than 0 of several it only serves.
struct LoadedModel {
  std::unique_ptr<ComputeContext> context;
  infer::ParallelJob job;
  std::unique_ptr<infer::CausalModel> model;
  infer::ParallelModel* parallel = nullptr;  // `model` when there are several ranks
  std::chrono::duration<double> load_time{};

  bool leads() const { return parallel == nullptr || parallel->leads(); }
};

/// Joins the job of `gamelan run` when there are several ranks, and loads.
base::StatusOr<LoadedModel> load_model(const EngineArguments& arguments);

/// A model for the same context, of the same kind of weights, which this rank has for itself.
base::StatusOr<std::unique_ptr<infer::CausalModel>> load_beside(const LoadedModel& loaded,
                                                                const EngineArguments& arguments,
                                                                const std::string& path);

}  // namespace gamelan::apps
