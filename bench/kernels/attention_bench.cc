// Attention over a paged cache as a model's layers call it: prefill in GFLOP/s (products of visible
// keys alone), decoding in GB/s of cache read beside what the memory gives, and a layer's passes
// around it: rotating queries and keys, appending keys and values, two norms. As many layers as
// exceed the caches take turns.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <vector>

#include "base/clock.h"
#include "bench/kernels/read_bandwidth.h"
#include "bench/kernels/run_options.h"
#include "bench/support/machine.h"
#include "bench/support/statistics.h"
#include "kernels/alibi.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/norm.h"
#include "kernels/cpu/rotary.h"

namespace gamelan::bench {
namespace {

using tensor::DType;
using tensor::MatrixView;

struct Options : RunOptions {
  std::int64_t heads = 16;
  std::int64_t head_dim = 64;
  int layers = 24;
  bool alibi = true;
};

struct Row {
  DType dtype = DType::kF32;
  std::int64_t sequences = 1;
  std::int64_t rows = 0;  // of a sequence
  std::int64_t position = 0;
  double attention_us = 0;  // of a layer
  double append_us = 0;
  double rotate_us = 0;  // queries and keys
  double norms_us = 0;   // two
  double gflops = 0;
  double cache_gbps = 0;
  double read_gbps = 0;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        pool_({.threads = options.threads, .pin = true}),
        context_{.threads = &pool_, .workspace = &workspace_},
        bandwidth_(pool_) {}

  Row measure(DType dtype, std::int64_t sequences, std::int64_t position, std::int64_t rows);

 private:
  void measure_passes(Row& row);
  template <class F>
  double microseconds_of_layer(F&& layer);

  const Options& options_;
  device::ThreadPool pool_;
  device::Arena workspace_;
  kernels::Context context_;
  ReadBandwidth bandwidth_;
};

template <class F>
double Bench::microseconds_of_layer(F&& layer) {
  const auto start = base::Clock::now();
  for (int i = 0; i < options_.layers; ++i) {
    layer(i);
    workspace_.reset();
  }
  return base::seconds(base::Clock::now() - start) / options_.layers * 1e6;
}

void Bench::measure_passes(Row& row) {
  const std::int64_t rows = row.sequences * row.rows;
  const std::int64_t columns = options_.heads * options_.head_dim;
  const std::int64_t half = options_.head_dim / 2;
  const std::int64_t length = row.position + row.rows;
  const std::vector<float> numbers(static_cast<std::size_t>(length * half), std::sqrt(0.5F));
  const MatrixView<const float> angles(numbers.data(), length, half);
  std::vector<std::int32_t> positions;
  for (std::int64_t i = 0; i < rows; ++i) {
    positions.push_back(static_cast<std::int32_t>(row.position + i % row.rows));
  }
  const std::vector<float> weight(static_cast<std::size_t>(columns), 0.5F);
  std::vector<float> activations(static_cast<std::size_t>(rows * columns), 1.0F);
  const MatrixView<float> x(activations.data(), rows, columns);
  std::vector<double> rotate;
  std::vector<double> norms;
  for (int round = 0; round <= options_.rounds; ++round) {
    rotate.push_back(microseconds_of_layer([&](int) {
      for (int i = 0; i < 2; ++i) {
        kernels::cpu::rotate(context_, positions, {angles, angles}, options_.heads,
                             options_.head_dim, x);
      }
    }));
    norms.push_back(microseconds_of_layer([&](int) {
      for (int i = 0; i < 2; ++i) {
        kernels::cpu::layer_norm(context_, x, {weight.data(), weight.data()}, x);
      }
    }));
  }
  row.rotate_us = median(rotate);
  row.norms_us = median(norms);
}

Row Bench::measure(DType dtype, std::int64_t sequences, std::int64_t position, std::int64_t rows) {
  const std::int64_t columns = options_.heads * options_.head_dim;
  const kernels::cpu::KvLayout layout{dtype, options_.heads, options_.head_dim, 16};
  const std::int64_t keys = position + rows;
  const std::int64_t blocks = (keys + 15) / 16;  // of a sequence
  const std::size_t layer_bytes =
      layout.block_bytes() * static_cast<std::size_t>(blocks * sequences);
  std::vector<std::byte> memory(layer_bytes * static_cast<std::size_t>(options_.layers) + 64);
  std::byte* const data =
      memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64);
  std::vector<std::int32_t> table(static_cast<std::size_t>(blocks * sequences));
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<std::int32_t>(i);
  }
  std::vector<float> x(static_cast<std::size_t>(keys * sequences * columns));
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = std::sin(static_cast<float>(i));
  }
  std::vector<float> out(static_cast<std::size_t>(rows * sequences * columns));
  std::vector<kernels::cpu::SequenceRows> all;
  std::vector<kernels::cpu::SequenceRows> step;
  for (std::int64_t s = 0; s < sequences; ++s) {
    const auto part = std::span(table).subspan(static_cast<std::size_t>(s * blocks),
                                               static_cast<std::size_t>(blocks));
    all.push_back({s * keys, keys, 0, part});
    step.push_back({s * rows, rows, position, part});
  }
  const std::vector<float> slopes = kernels::alibi_slopes(options_.heads);
  kernels::cpu::AttentionOptions attention;
  attention.heads = options_.heads;
  attention.scale = 1.0F / std::sqrt(static_cast<float>(options_.head_dim));
  if (options_.alibi) {
    attention.alibi_slopes = slopes;
  }
  const MatrixView<const float> whole(x.data(), keys * sequences, columns);
  const MatrixView<const float> first = whole.block(0, rows * sequences);
  const auto cache = [&](int layer) {
    return kernels::cpu::KvBlocks{layout, data + static_cast<std::size_t>(layer) * layer_bytes};
  };
  for (int layer = 0; layer < options_.layers; ++layer) {
    kernels::cpu::append_kv(context_, whole, whole, all, cache(layer));
  }
  std::vector<double> attend;
  std::vector<double> append;
  std::vector<double> read;
  for (int round = 0; round <= options_.rounds; ++round) {
    read.push_back(bandwidth_.measure());
    append.push_back(microseconds_of_layer(
        [&](int layer) { kernels::cpu::append_kv(context_, first, first, step, cache(layer)); }));
    attend.push_back(microseconds_of_layer([&](int layer) {
      kernels::cpu::attention(context_, first, step, cache(layer), attention,
                              {out.data(), rows * sequences, columns});
    }));
  }
  const double pairs =
      static_cast<double>(sequences * rows) * (static_cast<double>(keys + position) + 1) / 2;
  Row row{dtype, sequences, rows, position, median(attend), median(append)};
  measure_passes(row);
  row.gflops = pairs * static_cast<double>(columns) * 4e-3 / row.attention_us;
  row.cache_gbps = static_cast<double>(layer_bytes) * 1e-3 / row.attention_us;
  row.read_gbps = median(read) * 1e-9;
  return row;
}

void print(const Row& row) {
  fmt::print(
      "{:5} {:>3} x {:>4} rows at {:>5} {:>10.1f} us; append {:>7.1f}, rotate {:>7.1f}, norms "
      "{:>7.1f} {:>8.1f} GFLOP/s",
      tensor::name_of(row.dtype), row.sequences, row.rows, row.position, row.attention_us,
      row.append_us, row.rotate_us, row.norms_us, row.gflops);
  fmt::print(" {:>6.1f} GB/s of cache, memory {:>5.1f}: {:>4.0f}%\n", row.cache_gbps, row.read_gbps,
             100 * row.cache_gbps / row.read_gbps);
}

nlohmann::json to_json(const Row& row) {
  return {{"dtype", tensor::name_of(row.dtype)},
          {"sequences", row.sequences},
          {"rows", row.rows},
          {"position", row.position},
          {"attention_us", row.attention_us},
          {"append_us", row.append_us},
          {"rotate_us", row.rotate_us},
          {"norms_us", row.norms_us},
          {"gflops", row.gflops},
          {"cache_gbps", row.cache_gbps},
          {"read_gbps", row.read_gbps}};
}

int run(const Options& options) {
  const Machine machine = this_machine();
  Bench bench(options);
  if (!options.json) {
    fmt::print("{}, {} heads of {}; a layer's median of {}\n", describe(machine, options),
               options.heads, options.head_dim, options.rounds + 1);
  }
  struct Case {
    std::int64_t sequences, position, rows;
  };
  nlohmann::json list = nlohmann::json::array();
  for (const DType dtype : {DType::kBF16, DType::kF32, DType::kF16, DType::kI8}) {
    for (const Case& c : {Case{1, 0, 512}, Case{1, 511, 1}, Case{1, 4095, 1}, Case{16, 64, 1}}) {
      const Row row = bench.measure(dtype, c.sequences, c.position, c.rows);
      if (options.json) {
        list.push_back(to_json(row));
      } else {
        print(row);
      }
    }
  }
  if (options.json) {
    print_json(machine, options, "attention", list);
  }
  return 0;
}

}  // namespace
}  // namespace gamelan::bench

int main(int argc, char** argv) {
  gamelan::bench::Options options;
  CLI::App app{
      "Speed of attention over a paged cache.\nExample: gamelan_attention_bench --heads 16 "
      "--head-dim 64"};
  app.add_option("--heads", options.heads, "Heads of queries and of keys");
  app.add_option("--head-dim", options.head_dim, "Numbers of a head");
  app.add_option("--layers", options.layers, "Caches that take turns");
  app.add_flag("!--no-alibi", options.alibi, "Leave the bias of positions out");
  add_run_options(app, options);
  CLI11_PARSE(app, argc, argv);
  return gamelan::bench::run(options);
}
