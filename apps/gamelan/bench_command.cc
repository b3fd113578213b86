#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "dist/collective/process_group.h"
#include "gamelan/bench_machine.h"
#include "gamelan/commands.h"
#include "gamelan/engine_arguments.h"

namespace gamelan::apps {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct BenchArguments {
  EngineArguments engine;
  int prompt_tokens = 512;
  int decode_tokens = 32;
  std::vector<int> batch_sizes = {1, 16};
  std::vector<int> contexts = {512};
  int rounds = 5;
  bool json = false;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Bench {
 public:
  /// `ranks` run the model together.
  Bench(const BenchArguments& arguments, infer::CausalModel& model, const kernels::Context& context,
        int ranks)
      : arguments_(arguments), model_(model), context_(context), ranks_(ranks) {}

  base::Status run();
  Json to_json() const { return figures_; }

 private:
  base::StatusOr<std::unique_ptr<infer::Engine>> make_engine() const;
  infer::Request request_of(int prompt_tokens, int new_tokens);
  base::StatusOr<std::optional<ModelProducts>> products_of_prompt() const;
  base::Status prefill();
  base::Status decode(int batch, int context);

  const BenchArguments& arguments_;
  infer::CausalModel& model_;
  kernels::Context context_;
  int ranks_;
  std::mt19937 random_{1};
  Json figures_ = Json::array();
};

base::StatusOr<std::unique_ptr<infer::Engine>> Bench::make_engine() const {
  infer::EngineOptions options = arguments_.engine.engine_options(model_);
  options.prefix_sharing = false;
  return infer::Engine::create(model_, options);
}

infer::Request Bench::request_of(int prompt_tokens, int new_tokens) {
  infer::Request request;
  std::uniform_int_distribution<text::TokenId> token(
      0, static_cast<text::TokenId>(model_.config().vocab_size - 1));
  for (int i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(token(random_));
  }
  request.max_new_tokens = new_tokens;
  request.end_tokens.emplace();
  return request;
}

// The products of the whole model, which are what one process computes: several share them.
base::StatusOr<std::optional<ModelProducts>> Bench::products_of_prompt() const {
  if (ranks_ > 1) {
    return std::nullopt;
  }
  GAMELAN_ASSIGN_OR_RETURN(ModelProducts products,
                           ModelProducts::create(context_, model_.config(), model_.scheme(),
                                                 std::min(arguments_.prompt_tokens,
                                                          arguments_.engine.max_batched_tokens)));
  return products;
}

base::Status Bench::prefill() {
  GAMELAN_ASSIGN_OR_RETURN(const auto engine, make_engine());
  const int tokens = arguments_.prompt_tokens;
  GAMELAN_ASSIGN_OR_RETURN(std::optional<ModelProducts> products, products_of_prompt());
  const double steps =
      std::max(1.0, static_cast<double>(tokens) / arguments_.engine.max_batched_tokens);
  std::vector<double> rates;
  std::vector<double> alone;
  for (int round = 0; round <= arguments_.rounds; ++round) {
    GAMELAN_RETURN_IF_ERROR(engine->submit(request_of(tokens, 1)).status());
    const auto start = Clock::now();
    while (!engine->idle()) {
      GAMELAN_RETURN_IF_ERROR(engine->step().status());
    }
    const double seconds = seconds_since(start);
    const double of_products = products ? products->run() * steps : 0;
    if (round > 0) {  // the first warms up
      rates.push_back(tokens / seconds);
      alone.push_back(tokens / of_products);
    }
  }
  Json figure{{"what", "prefill"},
              {"prompt_tokens", tokens},
              {"tokens_per_second", median(rates)},
              {"least", std::ranges::min(rates)},
              {"most", std::ranges::max(rates)}};
  if (products) {
    const double operations = products->operations() * steps / tokens;
    figure["gflops"] = median(rates) * operations / 1e9;
    figure["products_alone_tokens_per_second"] = median(alone);
    figure["products_alone_gflops"] = median(alone) * operations / 1e9;
    figure["fraction_of_products"] = median(rates) / median(alone);
  }
  figures_.push_back(std::move(figure));
  return base::OkStatus();
}

base::Status Bench::decode(int batch, int context) {
  GAMELAN_ASSIGN_OR_RETURN(const auto engine, make_engine());
  std::vector<double> rates;
  std::vector<double> bandwidths;
  const int tokens = arguments_.decode_tokens;
  // Texts go on while others' prompts are computed, beside them, a step's tokens at a time.
  const int room = std::max(arguments_.engine.engine_options(model_).max_step_tokens - batch, 1);
  const int waiting = batch * ((context + room - 1) / room + 1);
  for (int round = 0; round <= arguments_.rounds; ++round) {
    for (int i = 0; i < batch; ++i) {
      GAMELAN_RETURN_IF_ERROR(engine->submit(request_of(context, tokens + waiting + 2)).status());
    }
    const auto before = engine->statistics().prompt_tokens;
    const auto all = static_cast<std::uint64_t>(batch) * static_cast<std::uint64_t>(context);
    while (engine->statistics().prompt_tokens - before < all) {
      GAMELAN_RETURN_IF_ERROR(engine->step().status());
    }
    const auto start = Clock::now();
    const std::uint64_t generated = engine->statistics().generated_tokens;
    for (int step = 0; step < tokens; ++step) {
      GAMELAN_RETURN_IF_ERROR(engine->step().status());
    }
    const std::uint64_t count = engine->statistics().generated_tokens - generated;
    const double rate = static_cast<double>(count) / seconds_since(start);
    if (count != static_cast<std::uint64_t>(batch) * static_cast<std::uint64_t>(tokens)) {
      return base::failed_precondition(
          "decode, batch {}, context {}: expected {} texts that grow at the same time, got {:.1f}; "
          "--kv-cache-memory, --max-num-seqs or --max-num-batched-tokens is too small",
          batch, context, batch, static_cast<double>(count) / tokens);
    }
    while (!engine->idle()) {
      GAMELAN_RETURN_IF_ERROR(engine->step().status());
    }
    if (round > 0) {
      rates.push_back(rate);
      GAMELAN_ASSIGN_OR_RETURN(const double bandwidth, read_bandwidth(*context_.threads));
      bandwidths.push_back(bandwidth);
    }
  }
  const infer::CacheOptions cache = arguments_.engine.engine_options(model_).cache;
  const double a_token = static_cast<double>(model_.cache_block_bytes(cache)) /
                         static_cast<double>(cache.block_tokens);
  const double cache_bytes = a_token * batch * (context + tokens / 2.0);
  const double bytes = static_cast<double>(model_.weight_bytes()) + cache_bytes;
  const double rate = median(rates);
  figures_.push_back({{"what", "decode"},
                      {"ranks", ranks_},
                      {"batch", batch},
                      {"context", context},
                      {"tokens_per_second", rate},
                      {"least", std::ranges::min(rates)},
                      {"most", std::ranges::max(rates)},
                      {"weight_bytes_per_step", model_.weight_bytes()},
                      {"cache_bytes_per_step", cache_bytes},
                      {"gigabytes_per_second", bytes * rate / batch / 1e9},
                      {"read_bandwidth", median(bandwidths) / 1e9},
                      {"fraction_of_bandwidth", bytes * rate / batch / median(bandwidths)}});
  return base::OkStatus();
}

base::Status Bench::run() {
  GAMELAN_RETURN_IF_ERROR(prefill());
  for (const int context : arguments_.contexts) {
    for (const int batch : arguments_.batch_sizes) {
      GAMELAN_RETURN_IF_ERROR(decode(batch, context));
    }
  }
  return base::OkStatus();
}

void print_text(const Json& figures) {
  for (const Json& f : figures) {
    if (f["what"] == "prefill") {
      fmt::print("prefill, {} tokens: {:.1f} tokens/s ({:.1f} ... {:.1f})",
                 f["prompt_tokens"].get<int>(), f["tokens_per_second"].get<double>(),
                 f["least"].get<double>(), f["most"].get<double>());
      if (f.contains("gflops")) {
        fmt::print(
            ", {:.0f} GFLOP/s; {:.0f} % of the {:.1f} tokens/s ({:.0f} GFLOP/s) of its matrix "
            "products alone",
            f["gflops"].get<double>(), 100 * f["fraction_of_products"].get<double>(),
            f["products_alone_tokens_per_second"].get<double>(),
            f["products_alone_gflops"].get<double>());
      }
      fmt::print("\n");
      continue;
    }
    fmt::print(
        "decode, batch {}, context {}: {:.1f} tokens/s ({:.1f} ... {:.1f}); {:.1f} MB weights + "
        "{:.1f} MB cache a step = {:.1f} GB/s, {:.0f} % of the {:.1f} GB/s that {} reads\n",
        f["batch"].get<int>(), f["context"].get<int>(), f["tokens_per_second"].get<double>(),
        f["least"].get<double>(), f["most"].get<double>(),
        f["weight_bytes_per_step"].get<double>() / 1e6,
        f["cache_bytes_per_step"].get<double>() / 1e6, f["gigabytes_per_second"].get<double>(),
        100 * f["fraction_of_bandwidth"].get<double>(), f["read_bandwidth"].get<double>(),
        f["ranks"].get<int>() > 1 ? "rank 0 alone" : "this machine");
  }
}

/// What each rank holds after loading, before there is a cache, in the order of the ranks.
base::StatusOr<Json> memory_of_ranks(const LoadedModel& loaded) {
  const ResidentMemory resident = resident_memory();
  std::array<double, 3> mine = {static_cast<double>(loaded.model->weight_bytes()),
                                resident.anonymous, resident.file};
  dist::ProcessGroup* const group = loaded.job.job.group.get();
  std::vector<double> all(mine.begin(), mine.end());
  if (group != nullptr) {
    all.resize(mine.size() * static_cast<std::size_t>(group->size()));
    GAMELAN_RETURN_IF_ERROR(group
                                ->all_gather(tensor::view_of(mine.data(), mine.size()),
                                             tensor::view_of(all.data(), all.size()))
                                .wait());
  }
  Json ranks = Json::array();
  for (std::size_t i = 0; i < all.size(); i += mine.size()) {
    ranks.push_back({{"weight_bytes", all[i]},
                     {"resident_anonymous_bytes", all[i + 1]},
                     {"resident_file_bytes", all[i + 2]}});
  }
  return ranks;
}

void print_memory(const Json& ranks) {
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const Json& r = ranks[rank];
    fmt::print(
        "rank {}: {:.1f} MB of weights; resident when loaded: {:.1f} MB of its own, {:.1f} MB of "
        "files\n",
        rank, r["weight_bytes"].get<double>() / 1e6,
        r["resident_anonymous_bytes"].get<double>() / 1e6,
        r["resident_file_bytes"].get<double>() / 1e6);
  }
}

base::Status bench(const BenchArguments& arguments) {
  GAMELAN_ASSIGN_OR_RETURN(LoadedModel loaded, load_model(arguments.engine));
  GAMELAN_ASSIGN_OR_RETURN(const Json memory, memory_of_ranks(loaded));
  if (!loaded.leads()) {
    return loaded.parallel->serve_steps();
  }
  Bench bench(arguments, *loaded.model, **loaded.context, static_cast<int>(memory.size()));
  GAMELAN_RETURN_IF_ERROR(bench.run());
  if (arguments.json) {
    fmt::print("{}\n", Json{{"model", arguments.engine.model.model},
                            {"description", loaded.model->description()},
                            {"ranks", memory},
                            {"figures", bench.to_json()}}
                           .dump(2));
  } else {
    fmt::print("{}: {}\n", arguments.engine.model.model, loaded.model->description());
    print_memory(memory);
    print_text(bench.to_json());
  }
  return base::OkStatus();
}

}  // namespace

int bench_command(const std::vector<std::string>& arguments) {
  BenchArguments bench_arguments;
  BenchArguments& a = bench_arguments;
  CLI::App app("", "gamelan bench");
  cli::describe(
      app, "gamelan bench --model bloom-560m --batch-sizes 1,16",
      "Measures how fast a model reads prompts and generates, beside what the memory of "
      "this machine allows. Prompts are random tokens. Of several processes, under gamelan "
      "run, each one's weights are told, and rank 0's bytes.");
  add_model_options(app, a.engine.model);
  app.add_option("--prompt-tokens", a.prompt_tokens, "Length of the prompts that are read")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--decode-tokens", a.decode_tokens, "Steps of generation that are measured")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--batch-sizes", a.batch_sizes, "Texts that grow together")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--contexts", a.contexts, "Tokens that each text has before")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--rounds", a.rounds, "Measurements, of which the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--json", a.json, "Prints one JSON object");
  add_engine_options(app, a.engine);
  if (const auto exit_code = cli::parse(app, arguments)) {
    return *exit_code;
  }
  if (const base::Status status = a.engine.check(); !status.ok()) {
    return cli::usage_error(app, base::message(status));
  }
  if (const base::Status status = bench(a); !status.ok()) {
    fmt::print(stderr, "gamelan bench: {}\n", base::message(status));
    return cli::kExitFailed;
  }
  return cli::kExitDone;
}

}  // namespace gamelan::apps
