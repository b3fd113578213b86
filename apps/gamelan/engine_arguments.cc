#include "gamelan/engine_arguments.h"

#include <cstdlib>

#include "infer/cache/cache_dtype.h"
#include "infer/model/load_model.h"

namespace gamelan::apps {
namespace {

int world_size() {
  const char* const text = std::getenv("WORLD_SIZE");
  return text == nullptr || std::atoi(text) < 1 ? 1 : std::atoi(text);
}

}  // namespace

void add_parallel_options(CLI::App& app, EngineArguments& a) {
  app.add_option("--kv-cache-dtype", a.kv_cache_dtype,
                 "Numbers of the cached keys and values: auto, f32, bf16, f16, int8")
      ->capture_default_str();
  app.add_option("--tensor-parallel-size", a.tensor_parallel_size,
                 "Ranks that share each layer, under gamelan run")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--pipeline-parallel-size", a.pipeline_parallel_size,
                 "Groups of ranks with a range of layers each, under gamelan run")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
}

void add_engine_options(CLI::App& app, EngineArguments& a) {
  add_parallel_options(app, a);
  app.add_option("--kv-cache-memory", a.kv_cache_memory,
                 "Memory for cached keys and values, of each rank: 512MiB, 2GiB")
      ->transform(CLI::AsSizeValue(true))
      ->default_str("1GiB");
  app.add_option("--max-num-batched-tokens", a.max_batched_tokens,
                 "Most tokens computed in one step; longer prompts are cut")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--max-num-seqs", a.max_sequences, "Most texts that grow at the same time")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
}

base::Status EngineArguments::check() const {
  if (kv_cache_dtype != "auto" && !infer::cache_dtype_from_name(kv_cache_dtype)) {
    return base::invalid_argument(
        "--kv-cache-dtype: expected auto, f32, bf16, f16 or int8, got '{}'", kv_cache_dtype);
  }
  const int ranks = world_size();
  const int wanted = tensor_parallel_size * pipeline_parallel_size;
  if (ranks != wanted) {
    return base::invalid_argument(
        "--tensor-parallel-size {} x --pipeline-parallel-size {}: expected {} process{}, got {} "
        "(gamelan run --nproc-per-node {} -- gamelan ...)",
        tensor_parallel_size, pipeline_parallel_size, wanted, wanted == 1 ? "" : "es", ranks,
        wanted);
  }
  return base::OkStatus();
}

infer::EngineOptions EngineArguments::engine_options(const infer::CausalModel& loaded) const {
  infer::EngineOptions options;
  options.cache.dtype = kv_cache_dtype == "auto" ? loaded.natural_cache_dtype()
                                                 : *infer::cache_dtype_from_name(kv_cache_dtype);
  options.cache_bytes = kv_cache_memory;
  options.max_step_tokens = max_batched_tokens;
  options.max_sequences = max_sequences;
  return options;
}

base::StatusOr<LoadedModel> load_model(const EngineArguments& arguments) {
  const auto start = std::chrono::steady_clock::now();
  LoadedModel loaded;
  loaded.context = std::make_unique<ComputeContext>(threads_of(arguments.model));
  GAMELAN_ASSIGN_OR_RETURN(loaded.job, infer::join_parallel_job(arguments.tensor_parallel_size,
                                                                arguments.pipeline_parallel_size));
  const infer::LoadOptions options{scheme_of(arguments.model), loaded.job.options()};
  if (options.parallel.group != nullptr) {
    GAMELAN_ASSIGN_OR_RETURN(
        std::unique_ptr<infer::ParallelModel> model,
        infer::load_parallel_model(arguments.model.model, **loaded.context, options));
    loaded.parallel = model.get();
    loaded.model = std::move(model);
  } else {
    GAMELAN_ASSIGN_OR_RETURN(
        loaded.model, infer::load_causal_model(arguments.model.model, **loaded.context, options));
  }
  loaded.load_time = std::chrono::steady_clock::now() - start;
  return loaded;
}

base::StatusOr<std::unique_ptr<infer::CausalModel>> load_beside(const LoadedModel& loaded,
                                                                const EngineArguments& arguments,
                                                                const std::string& path) {
  return infer::load_causal_model(path, **loaded.context, {scheme_of(arguments.model), {}});
}

}  // namespace gamelan::apps
