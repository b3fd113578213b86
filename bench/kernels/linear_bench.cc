// Speed of linear layers: GFLOP/s, and for few rows the bytes of weights a second against what the
// memory gives, measured between the repetitions. Weights are cold: as many copies of a matrix as
// exceed the caches take turns, as the layers of a model do. oneDNN runs in turn with ours.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <vector>

#include "base/clock.h"
#include "bench/kernels/onednn_product.h"
#include "bench/kernels/read_bandwidth.h"
#include "bench/kernels/run_options.h"
#include "bench/support/machine.h"
#include "bench/support/statistics.h"
#include "kernels/cpu/linear.h"

namespace gamelan::bench {
namespace {

using kernels::WeightScheme;
using kernels::cpu::PackedLinear;

struct Options : RunOptions {
  std::vector<std::string> shapes = {"3072x1024", "1024x1024", "4096x1024", "1024x4096",
                                     "50257x1024"};
  std::vector<std::int64_t> rows = {1, 4, 16, 64, 512};
  std::vector<std::string> schemes = {"f32", "bf16", "f16", "int8", "int8-dynamic", "int4"};
  double round_seconds = 0.05;
  std::int64_t peer_from = 512;
  std::int64_t group = 32;
  bool gelu = false;
};

struct Shape {
  std::int64_t out = 0;
  std::int64_t in = 0;
};

struct Row {
  std::string scheme;
  Shape shape;
  std::int64_t rows = 0;
  double microseconds = 0;  // of a call
  double gflops = 0;
  double weight_gbps = 0;
  double read_gbps = 0;
  double peer_gflops = 0;  // 0: none
};

// More than the last-level cache of large servers, of which a virtual machine may see all.
constexpr std::size_t kColdBytes = std::size_t{400} << 20;

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        pool_({.threads = options.threads, .pin = true}),
        context_{.threads = &pool_, .workspace = &workspace_},
        bandwidth_(pool_) {}

  /// False for a shape or scheme that cannot be.
  bool measure_shape(WeightScheme scheme, Shape shape, std::vector<Row>& results);

 private:
  std::vector<PackedLinear> pack_copies(WeightScheme scheme, Shape shape);
  Row measure(const std::vector<PackedLinear>& weights, std::int64_t rows);
  template <class F>
  double seconds_of_call(F&& call) const;

  const Options& options_;
  device::ThreadPool pool_;
  device::Arena workspace_;
  kernels::Context context_;
  ReadBandwidth bandwidth_;
};

/// Cheap numbers around 0 that differ.
void fill(std::span<float> out, std::uint32_t seed) {
  for (float& value : out) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<float>(static_cast<std::int32_t>(seed)) * 0x1p-33F;
  }
}

std::vector<PackedLinear> Bench::pack_copies(WeightScheme scheme, Shape shape) {
  std::vector<PackedLinear> copies;
  std::size_t bytes = 0;
  do {
    auto packed = PackedLinear::pack(context_, shape.out, shape.in,
                                     [](std::int64_t first, std::int64_t, std::span<float> out) {
                                       fill(out, static_cast<std::uint32_t>(first));
                                     },
                                     {.scheme = scheme, .group_size = options_.group});
    if (!packed.ok()) {
      fmt::print(stderr, "{}\n", base::message(packed.status()));
      return {};
    }
    bytes += packed->size_bytes();
    copies.push_back(*std::move(packed));
  } while (bytes < kColdBytes);
  return copies;
}

template <class F>
double Bench::seconds_of_call(F&& call) const {
  const auto start = base::Clock::now();
  double elapsed = 0;
  int calls = 0;
  do {
    call();
    ++calls;
    elapsed = base::seconds(base::Clock::now() - start);
  } while (elapsed < options_.round_seconds);
  return elapsed / calls;
}

Row Bench::measure(const std::vector<PackedLinear>& weights, std::int64_t rows) {
  const PackedLinear& first = weights.front();
  const Shape shape = {first.out_features(), first.in_features()};
  std::vector<float> x(static_cast<std::size_t>(rows * shape.in));
  std::vector<float> y(static_cast<std::size_t>(rows * shape.out));
  fill(x, 7);
  const auto peer = rows >= options_.peer_from
                        ? make_onednn_product(pool_, first.scheme(), rows, shape.out, shape.in)
                        : nullptr;
  std::size_t next = 0;
  kernels::cpu::LinearOptions linear_options;
  if (options_.gelu) {
    linear_options.activation = kernels::cpu::LinearActivation::kGeluTanh;
  }
  const auto ours = [&] {
    kernels::cpu::linear(context_, weights[next++ % weights.size()],
                         tensor::MatrixView<const float>(x.data(), rows, shape.in),
                         tensor::MatrixView<float>(y.data(), rows, shape.out), linear_options);
    workspace_.reset();
  };
  std::vector<double> seconds;
  std::vector<double> peer_seconds;
  std::vector<double> read;
  ours();
  for (int round = 0; round < options_.rounds; ++round) {
    read.push_back(bandwidth_.measure());
    seconds.push_back(seconds_of_call(ours));
    if (peer != nullptr) {
      peer_seconds.push_back(seconds_of_call([&] { peer->run(); }));
    }
  }
  const double operations = 2e-9 * static_cast<double>(rows * shape.out * shape.in);
  Row row;
  row.scheme = name_of(first.scheme());
  row.shape = shape;
  row.rows = rows;
  row.microseconds = median(seconds) * 1e6;
  row.gflops = operations / median(seconds);
  row.weight_gbps = static_cast<double>(first.size_bytes()) / median(seconds) * 1e-9;
  row.read_gbps = median(read) * 1e-9;
  row.peer_gflops = peer_seconds.empty() ? 0.0 : operations / median(peer_seconds);
  return row;
}

void print(const Row& row) {
  fmt::print("{:<13} {:>5}x{:<5} {:>4} {:>10.1f} {:>8.1f} ", row.scheme, row.shape.out,
             row.shape.in, row.rows, row.microseconds, row.gflops);
  fmt::print("{:>8.2f} {:>8.2f} {:>5.0f}%", row.weight_gbps, row.read_gbps,
             100 * row.weight_gbps / row.read_gbps);
  if (row.peer_gflops > 0) {
    fmt::print(" {:>8.1f} {:>5.0f}%", row.peer_gflops, 100 * row.gflops / row.peer_gflops);
  }
  fmt::print("\n");
  std::fflush(stdout);
}

nlohmann::json to_json(const Row& row) {
  return {{"scheme", row.scheme},
          {"out", row.shape.out},
          {"in", row.shape.in},
          {"rows", row.rows},
          {"microseconds", row.microseconds},
          {"gflops", row.gflops},
          {"weight_gbps", row.weight_gbps},
          {"read_gbps", row.read_gbps},
          {"onednn_gflops", row.peer_gflops > 0 ? nlohmann::json(row.peer_gflops) : nullptr}};
}

bool Bench::measure_shape(WeightScheme scheme, Shape shape, std::vector<Row>& results) {
  const std::vector<PackedLinear> weights = pack_copies(scheme, shape);
  if (weights.empty()) {
    return false;
  }
  for (const std::int64_t rows : options_.rows) {
    results.push_back(measure(weights, rows));
    if (!options_.json) {
      print(results.back());
    }
  }
  return true;
}

int run(const Options& options) {
  const Machine machine = this_machine();
  Bench bench(options);
  if (!options.json) {
    fmt::print("{}, median of {}\n", describe(machine, options), options.rounds);
    fmt::print("{:<13} {:>11} {:>4} {:>10} {:>8} {:>8} {:>8} {:>6} {:>8}\n", "scheme", "out x in",
               "rows", "us", "GFLOP/s", "GB/s", "memory", "of it", "oneDNN");
  }
  std::vector<Row> results;
  for (const std::string& name : options.schemes) {
    const auto scheme = kernels::scheme_from_name(name);
    for (const std::string& text : options.shapes) {
      Shape shape;
      const std::size_t x = text.find('x');
      if (!scheme || x == std::string::npos ||
          (shape = {std::atoll(text.c_str()), std::atoll(text.c_str() + x + 1)}).out <= 0 ||
          shape.in <= 0) {
        fmt::print(stderr, "expected a scheme and a shape OUTxIN, got '{}' and '{}'\n", name, text);
        return 2;
      }
      if (!bench.measure_shape(*scheme, shape, results)) {
        return 1;
      }
    }
  }
  if (options.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Row& row : results) {
      list.push_back(to_json(row));
    }
    print_json(machine, options, "products", list);
  }
  return 0;
}

}  // namespace
}  // namespace gamelan::bench

int main(int argc, char** argv) {
  gamelan::bench::Options options;
  CLI::App app{
      "Speed of linear layers, beside oneDNN and the memory.\nExample: gamelan_linear_bench "
      "--schemes bf16 --rows 1,512 --shapes 4096x1024"};
  app.add_option("--schemes", options.schemes, "How weights are kept")->delimiter(',');
  app.add_option("--shapes", options.shapes, "OUTxIN")->delimiter(',');
  app.add_option("--rows", options.rows, "Rows of activations")->delimiter(',');
  app.add_option("--round-seconds", options.round_seconds, "Calls of a repetition take so long");
  app.add_option("--peer-from", options.peer_from, "oneDNN runs beside from so many rows on");
  app.add_option("--group", options.group, "int4: inputs that share a scale");
  app.add_flag("--gelu", options.gelu,
               "Apply GELU to the results, as the first product of an MLP does");
  add_run_options(app, options);
  CLI11_PARSE(app, argc, argv);
  return gamelan::bench::run(options);
}
