// What the engine makes of many requests: all at once against one by one, a common beginning
// computed once, prompt look-up, and a cache of 8 bits against one of 16.
//
//   gamelan_engine_bench --model DIR [--parts together,prefix,lookup,cache]
//
// Random weights do. Greedy texts soon repeat themselves, with random weights as with small trained
// models, and continuing them is a copying task; how many proposals came true is printed. What a
// cache of 8 bits does to the words says more with a trained model and --text.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>

#include "bench/infer/workload.h"
#include "bench/support/machine.h"
#include "bench/support/statistics.h"
#include "device/arena.h"
#include "device/thread_pool.h"
#include "infer/model/load_model.h"
#include "io/load_tokenizer.h"
#include "io/model_files.h"
#include "kernels/weight_scheme.h"

namespace gamelan::bench {
namespace {

using infer::EngineOptions;
using infer::Request;

constexpr double kTogetherBar = 3.0;
constexpr double kLookupBar = 1.5;

struct Options {
  std::string model;
  std::string dtype = "bf16";
  std::string text;
  std::vector<std::string> parts = {"together", "prefix", "lookup", "cache"};
  int threads = 2;
  int requests = 64;
  /// How many of them also run one by one; 0 = all.
  int one_by_one = 0;
  int sharing = 32;
  int shared_tokens = 1000;
  int lookup_tokens = 8;
  int rounds = 5;
  std::uint64_t seed = 1;
};

class EngineBench {
 public:
  EngineBench(const Options& options, infer::CausalModel& model, std::vector<text::TokenId> text)
      : options_(options), model_(model), prompts_(std::move(text), model.config().vocab_size) {}

  base::Status together();
  base::Status prefix();
  base::Status lookup();
  base::Status cache();

 private:
  EngineOptions engine_options() const;
  /// Prompts of 32 ... 256 tokens, 64 ... 256 new ones.
  std::vector<Request> mixed_requests();

  const Options& options_;
  infer::CausalModel& model_;
  PromptSource prompts_;
};

void print_rates(std::string_view name, const Outcome& outcome) {
  fmt::print("  {:11} {} prompt + {} new tokens in {:.2f} s: {:.1f} tokens/s, {:.1f} new ones/s\n",
             name, outcome.prompt_tokens(), outcome.statistics.generated_tokens, outcome.seconds,
             outcome.tokens_per_second(),
             static_cast<double>(outcome.statistics.generated_tokens) / outcome.seconds);
}

EngineOptions EngineBench::engine_options() const {
  EngineOptions options;
  options.cache.dtype = model_.natural_cache_dtype();
  options.cache_bytes = std::size_t{4} << 30;
  return options;
}

std::vector<Request> EngineBench::mixed_requests() {
  std::mt19937_64 random(options_.seed);
  std::uniform_int_distribution<int> prompt(32, 256);
  std::uniform_int_distribution<int> output(64, 256);
  std::vector<Request> requests;
  for (int i = 0; i < options_.requests; ++i) {
    const int prompt_tokens = prompt(random);
    requests.push_back(request_of(prompts_.take(prompt_tokens), output(random)));
  }
  return requests;
}

// Half of those that run one by one do so before and the others after, so that a machine that
// changes its speed does not favour either.
base::Status EngineBench::together() {
  const std::vector<Request> requests = mixed_requests();
  const auto alone_count = static_cast<std::size_t>(
      options_.one_by_one == 0 ? options_.requests
                               : std::min(options_.one_by_one, options_.requests));
  std::vector<std::size_t> chosen;  // evenly from all
  std::vector<Request> halves[2];
  for (std::size_t i = 0; i < alone_count; ++i) {
    chosen.push_back(i * requests.size() / alone_count);
    halves[2 * i / alone_count].push_back(requests[chosen.back()]);
  }
  GAMELAN_RETURN_IF_ERROR(  // warms up
      run_one_by_one(model_, engine_options(), {requests.front()}).status());
  GAMELAN_ASSIGN_OR_RETURN(Outcome alone, run_one_by_one(model_, engine_options(), halves[0]));
  GAMELAN_ASSIGN_OR_RETURN(const Outcome all, run_together(model_, engine_options(), requests));
  if (!halves[1].empty()) {
    GAMELAN_ASSIGN_OR_RETURN(const Outcome after,
                             run_one_by_one(model_, engine_options(), halves[1]));
    alone.append(after);
  }
  bool equal = true;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    equal = equal && alone.tokens[i] == all.tokens[chosen[i]];
  }
  fmt::print("together: {} requests, {} of them also one by one\n", requests.size(), chosen.size());
  print_rates("one by one", alone);
  print_rates("all at once", all);
  const double ratio = all.tokens_per_second() / alone.tokens_per_second();
  fmt::print("  {} steps, {} preempted; {:.2f} times the tokens/s (bar {:.1f}: {}); tokens {}\n",
             all.statistics.steps, all.statistics.preemptions, ratio, kTogetherBar,
             ratio >= kTogetherBar ? "met" : "MISSED", equal ? "equal" : "DIFFER");
  return base::OkStatus();
}

base::Status EngineBench::prefix() {
  const std::vector<text::TokenId> common = prompts_.take(options_.shared_tokens);
  constexpr int kOwnTokens = 16;
  constexpr int kNewTokens = 16;
  std::vector<Request> requests;
  for (int i = 0; i < options_.sharing; ++i) {
    std::vector<text::TokenId> prompt = common;
    const std::vector<text::TokenId> own = prompts_.take(kOwnTokens);
    prompt.insert(prompt.end(), own.begin(), own.end());
    requests.push_back(request_of(std::move(prompt), kNewTokens));
  }
  EngineOptions apart = engine_options();
  apart.prefix_sharing = false;
  GAMELAN_ASSIGN_OR_RETURN(const Outcome shared, run_together(model_, engine_options(), requests));
  GAMELAN_ASSIGN_OR_RETURN(const Outcome unshared, run_together(model_, apart, requests));
  // Only whole blocks are shared: each request computes the rest of the last one itself.
  const auto block = static_cast<int>(engine_options().cache.block_tokens);
  const int whole = options_.shared_tokens / block * block;
  const int least = whole + options_.sharing * (options_.shared_tokens - whole + kOwnTokens);
  fmt::print(
      "prefix: {} requests that share {} tokens ({} in whole blocks) and have {} of their own, {} "
      "new each\n"
      "  shared     {:8} prompt tokens computed, {} found; {:7.2f} s\n"
      "  not shared {:8} prompt tokens computed; {:7.2f} s\n"
      "  {:.2f} times as fast; computed once: {} (expected {}); tokens {}\n",
      requests.size(), options_.shared_tokens, whole, kOwnTokens, kNewTokens,
      shared.statistics.prompt_tokens, shared.statistics.shared_tokens, shared.seconds,
      unshared.statistics.prompt_tokens, unshared.seconds, unshared.seconds / shared.seconds,
      shared.statistics.prompt_tokens == static_cast<std::uint64_t>(least) ? "yes" : "NO", least,
      shared.tokens == unshared.tokens ? "equal" : "DIFFER");
  return base::OkStatus();
}

base::Status EngineBench::lookup() {
  std::vector<Request> plain;
  // The model first writes by itself until it repeats what it wrote; then copying is the task.
  constexpr int kOwnTokens = 192;
  constexpr int kNewTokens = 128;
  constexpr int kTexts = 4;
  std::vector<Request> beginnings;
  for (int i = 0; i < kTexts; ++i) {
    beginnings.push_back(request_of(prompts_.take(32), kOwnTokens));
  }
  GAMELAN_ASSIGN_OR_RETURN(const Outcome begun, run_together(model_, engine_options(), beginnings));
  for (int i = 0; i < kTexts; ++i) {
    std::vector<text::TokenId> prompt = beginnings[static_cast<std::size_t>(i)].prompt;
    const auto& own = begun.tokens[static_cast<std::size_t>(i)];
    prompt.insert(prompt.end(), own.begin(), own.end());
    plain.push_back(request_of(std::move(prompt), kNewTokens));
  }
  std::vector<Request> looking = plain;
  for (Request& request : looking) {
    request.lookup_tokens = options_.lookup_tokens;
  }
  std::vector<double> without;
  std::vector<double> with;
  std::vector<double> ratios;
  bool equal = true;
  infer::EngineStatistics statistics;
  for (int round = 0; round <= options_.rounds; ++round) {
    GAMELAN_ASSIGN_OR_RETURN(const Outcome slow, run_one_by_one(model_, engine_options(), plain));
    GAMELAN_ASSIGN_OR_RETURN(const Outcome fast, run_one_by_one(model_, engine_options(), looking));
    equal = equal && slow.tokens == fast.tokens;
    statistics = fast.statistics;
    if (round > 0) {  // the first warms up
      without.push_back(slow.seconds);
      with.push_back(fast.seconds);
      ratios.push_back(slow.seconds / fast.seconds);
    }
  }
  const double tokens = kTexts * kNewTokens;
  fmt::print(
      "lookup: {} texts, one by one, {} new tokens each after {} written by the model itself; {} "
      "proposals a step\n"
      "  without {:7.1f} new tokens/s (prompts included)\n"
      "  with    {:7.1f} new tokens/s, {} of {} proposals came true, {} steps\n"
      "  {:.2f} times as fast (bar {:.1f}: {}; median of {}); tokens {}\n",
      kTexts, kNewTokens, kOwnTokens, options_.lookup_tokens, tokens / median(without),
      tokens / median(with), statistics.accepted_tokens, statistics.proposed_tokens,
      statistics.steps, median(ratios), kLookupBar, median(ratios) >= kLookupBar ? "met" : "MISSED",
      ratios.size(), equal ? "equal" : "DIFFER");
  return base::OkStatus();
}

/// Anonymous memory of this process that is resident, bytes; 0 when the system does not say.
double resident_anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) {
      return std::stod(line.substr(8)) * 1024;
    }
  }
  return 0;
}

base::Status EngineBench::cache() {
  std::vector<Request> requests;
  for (int i = 0; i < 16; ++i) {
    requests.push_back(request_of(prompts_.take(256), 32));
    requests.back().log_probabilities = true;
  }
  struct Run {
    double block_bytes = 0, resident = 0;
    Outcome outcome;
  };
  const auto run = [&](tensor::DType dtype) -> base::StatusOr<Run> {
    EngineOptions options = engine_options();
    options.cache.dtype = dtype;
    options.prefix_sharing = false;
    // Room for the requests and no more, so that what becomes resident is the cache in use.
    const std::size_t block = model_.cache_block_bytes(options.cache);
    const auto blocks =
        requests.size() * (288 / static_cast<std::size_t>(options.cache.block_tokens));
    options.cache_bytes = block * blocks;
    GAMELAN_RETURN_IF_ERROR(model_.create_cache(options.cache, 1));  // gives the old one back
    const double before = resident_anonymous_bytes();
    Run result;
    GAMELAN_ASSIGN_OR_RETURN(result.outcome, run_together(model_, options, requests));
    result.resident = resident_anonymous_bytes() - before;
    result.block_bytes =
        static_cast<double>(block) / static_cast<double>(options.cache.block_tokens);
    return result;
  };
  GAMELAN_RETURN_IF_ERROR(run(tensor::DType::kBF16).status());  // the arena takes its room
  GAMELAN_ASSIGN_OR_RETURN(const Run wide, run(tensor::DType::kBF16));
  GAMELAN_ASSIGN_OR_RETURN(const Run narrow, run(tensor::DType::kI8));
  int first_equal = 0;
  std::int64_t equal = 0;
  std::vector<double> differences;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto& a = wide.outcome.tokens[i];
    const auto& b = narrow.outcome.tokens[i];
    first_equal += a[0] == b[0] ? 1 : 0;
    equal += std::ranges::mismatch(a, b).in1 - a.begin();
    differences.push_back(
        std::abs(wide.outcome.log_probabilities[i][0] - narrow.outcome.log_probabilities[i][0]));
  }
  fmt::print(
      "cache: {} requests of 256 + 32 tokens\n"
      "  bf16 {:8.0f} bytes a token, {:7.1f} MB resident\n"
      "  int8 {:8.0f} bytes a token, {:7.1f} MB resident: {:.3f} and {:.3f} of it\n"
      "  first token equal in {} of {} texts, its log-probability {:.4f} apart (median; most "
      "{:.4f}); {:.1f} of 32 tokens equal before the first other one\n",
      requests.size(), wide.block_bytes, wide.resident / 1e6, narrow.block_bytes,
      narrow.resident / 1e6, narrow.block_bytes / wide.block_bytes, narrow.resident / wide.resident,
      first_equal, requests.size(), median(differences), std::ranges::max(differences),
      static_cast<double>(equal) / static_cast<double>(requests.size()));
  return base::OkStatus();
}

base::StatusOr<std::vector<text::TokenId>> tokens_of_text(const Options& options) {
  if (options.text.empty()) {
    return std::vector<text::TokenId>();
  }
  std::ifstream file(options.text, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (text.empty()) {
    return base::not_found("--text: cannot read {}", options.text);
  }
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelFiles files, io::load_model_files(options.model));
  GAMELAN_ASSIGN_OR_RETURN(const auto tokenizer, io::load_tokenizer(files.tokenizer_path));
  return tokenizer->encode(text, false);
}

base::Status run(const Options& options) {
  const Machine machine = this_machine();  // before this thread is bound to one CPU
  device::ThreadPool threads({.threads = options.threads, .pin = true});
  device::Arena workspace;
  const kernels::Context context{.threads = &threads, .workspace = &workspace};
  GAMELAN_ASSIGN_OR_RETURN(
      const auto model, infer::load_causal_model(options.model, context,
                                                 {kernels::scheme_from_name(options.dtype), {}}));
  GAMELAN_ASSIGN_OR_RETURN(std::vector<text::TokenId> text, tokens_of_text(options));
  fmt::print("{}\n{}: {}, {:.1f} MB of weights\n", describe(machine), options.model,
             model->description(), static_cast<double>(model->weight_bytes()) / 1e6);
  EngineBench bench(options, *model, std::move(text));
  const std::map<std::string, base::Status (EngineBench::*)()> parts = {
      {"together", &EngineBench::together},
      {"prefix", &EngineBench::prefix},
      {"lookup", &EngineBench::lookup},
      {"cache", &EngineBench::cache}};
  for (const std::string& part : options.parts) {
    GAMELAN_RETURN_IF_ERROR((bench.*parts.at(part))());
    std::fflush(stdout);
  }
  return base::OkStatus();
}

}  // namespace
}  // namespace gamelan::bench

int main(int argc, char** argv) {
  gamelan::bench::Options options;
  CLI::App app{
      "What the engine makes of many requests.\nExample: gamelan_engine_bench --model DIR "
      "--parts together,lookup"};
  app.add_option("--model", options.model, "Model folder")->required();
  app.add_option("--dtype", options.dtype, "Numbers of the weights")
      ->check(CLI::IsMember({"f32", "bf16", "f16", "int8", "int8-dynamic", "int4"}));
  app.add_option("--text", options.text, "Text that prompts are cut from (default: random tokens)");
  app.add_option("--parts", options.parts, "together, prefix, lookup, cache")
      ->delimiter(',')
      ->check(CLI::IsMember({"together", "prefix", "lookup", "cache"}));
  app.add_option("--threads", options.threads, "Threads, each bound to a CPU");
  app.add_option("--requests", options.requests, "Requests that come together")
      ->check(CLI::Range(2, 4096));
  app.add_option("--one-by-one", options.one_by_one,
                 "How many of them, evenly chosen, also run one by one (default: all)")
      ->check(CLI::Range(0, 4096));
  app.add_option("--sharing", options.sharing, "Requests with a common beginning")
      ->check(CLI::Range(1, 4096));
  app.add_option("--shared-tokens", options.shared_tokens, "Tokens of that beginning")
      ->check(CLI::Range(1, 1 << 16));
  app.add_option("--lookup-tokens", options.lookup_tokens, "Tokens proposed a step")
      ->check(CLI::Range(1, 256));
  app.add_option("--rounds", options.rounds, "Repetitions of look-up, of which the median counts")
      ->check(CLI::Range(1, 1000));
  app.add_option("--seed", options.seed, "Of the lengths");
  CLI11_PARSE(app, argc, argv);
  if (const gamelan::base::Status status = gamelan::bench::run(options); !status.ok()) {
    fmt::print(stderr, "gamelan_engine_bench: {}\n", gamelan::base::message(status));
    return 1;
  }
  return 0;
}
