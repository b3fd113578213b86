#include "gamelan/bench_machine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numeric>
#include <string>

namespace gamelan::apps {
namespace {

using Clock = std::chrono::steady_clock;
using kernels::cpu::PackedLinear;

// Matrices of so many layers are made and used in turn: more than any cache holds of a model that
// is worth measuring.
constexpr std::int64_t kDistinctLayers = 4;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Numbers of -0.5 ... 0.5 that no product takes a short cut for.
void fill(std::uint32_t seed, std::span<float> out) {
  for (float& x : out) {
    seed = seed * 1664525U + 1013904223U;
    x = static_cast<float>(seed >> 8) / (1 << 24) - 0.5F;
  }
}

base::StatusOr<PackedLinear> random_matrix(const kernels::Context& context, std::int64_t out,
                                           std::int64_t in, kernels::WeightScheme scheme) {
  kernels::cpu::PackOptions options;
  options.scheme = scheme;
  return PackedLinear::pack(
      context, out, in,
      [](std::int64_t first, std::int64_t, std::span<float> rows) {
        fill(static_cast<std::uint32_t>(first) + 1, rows);
      },
      options);
}

}  // namespace

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

ResidentMemory resident_memory() {
  ResidentMemory memory;
  std::ifstream status("/proc/self/status");
  const auto kilobytes = [](const std::string& line) {
    return std::strtod(line.c_str() + line.find(':') + 1, nullptr);
  };
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) {
      memory.anonymous = kilobytes(line) * 1024;
    } else if (line.starts_with("RssFile:")) {
      memory.file = kilobytes(line) * 1024;
    }
  }
  return memory;
}

base::StatusOr<double> read_bandwidth(device::ThreadPool& threads) {
  constexpr std::int64_t kWords = std::int64_t{1} << 26;  // 512 MiB: no cache holds it
  constexpr std::size_t kBytes = kWords * sizeof(std::uint64_t);
  void* const memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return base::resource_exhausted("no memory to measure its bandwidth, {} bytes: {}", kBytes,
                                    std::strerror(errno));
  }
  madvise(memory, kBytes, MADV_NOHUGEPAGE);
  auto* const words = static_cast<std::uint64_t*>(memory);
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(threads.size()) * 8);
  std::vector<double> rates;
  for (int round = 0; round < 8; ++round) {
    const auto start = Clock::now();
    threads.parallel_for(kWords, 512, [&](std::int64_t begin, std::int64_t end, int thread) {
      if (round == 0) {
        std::iota(words + begin, words + end, std::uint64_t{1});
        return;
      }
      std::uint64_t lanes[8] = {};
      for (std::int64_t i = begin; i + 8 <= end; i += 8) {
        for (int lane = 0; lane < 8; ++lane) {
          lanes[lane] += words[i + lane];
        }
      }
      sums[static_cast<std::size_t>(thread) * 8] +=
          std::accumulate(lanes, lanes + 8, std::uint64_t{0});
    });
    if (round > 0) {
      rates.push_back(static_cast<double>(kBytes) / seconds_since(start));
    }
  }
  munmap(memory, kBytes);
  // The sums are looked at, so that they are computed.
  const bool computed = std::accumulate(sums.begin(), sums.end(), std::uint64_t{0}) != 0;
  return computed ? median(rates) : 0.0;
}

base::StatusOr<ModelProducts> ModelProducts::create(const kernels::Context& context,
                                                    const io::ModelConfig& config,
                                                    const kernels::WeightScheme& scheme,
                                                    std::int64_t rows) {
  ModelProducts products(context);
  products.rows_ = rows;
  products.num_layers_ = config.num_layers;
  const std::int64_t attention = config.num_heads * config.head_dim;
  const std::int64_t qkv = attention + 2 * config.num_kv_heads * config.head_dim;
  const std::int64_t up = config.intermediate_size * (config.gated_mlp ? 2 : 1);
  for (std::int64_t i = 0; i < std::min(kDistinctLayers, config.num_layers); ++i) {
    Layer layer;
    GAMELAN_ASSIGN_OR_RETURN(layer.qkv, random_matrix(context, qkv, config.hidden_size, scheme));
    GAMELAN_ASSIGN_OR_RETURN(layer.attention_output,
                             random_matrix(context, config.hidden_size, attention, scheme));
    GAMELAN_ASSIGN_OR_RETURN(layer.up, random_matrix(context, up, config.hidden_size, scheme));
    GAMELAN_ASSIGN_OR_RETURN(
        layer.down, random_matrix(context, config.hidden_size, config.intermediate_size, scheme));
    products.layers_.push_back(std::move(layer));
  }
  GAMELAN_ASSIGN_OR_RETURN(
      products.head_, random_matrix(context, config.vocab_size, config.embedding_size, scheme));
  const std::int64_t widest_in =
      std::max({config.hidden_size, attention, config.intermediate_size, config.embedding_size});
  const std::int64_t widest_out = std::max({qkv, up, config.hidden_size});
  products.input_.resize(static_cast<std::size_t>(rows * widest_in));
  fill(7, products.input_);
  products.output_.resize(static_cast<std::size_t>(std::max(rows * widest_out, config.vocab_size)));
  const double per_row =
      static_cast<double>(config.num_layers * (config.hidden_size * (qkv + attention + up) +
                                               config.hidden_size * config.intermediate_size));
  products.operations_ = 2.0 * (per_row * static_cast<double>(rows) +
                                static_cast<double>(config.vocab_size * config.embedding_size));
  return products;
}

void ModelProducts::multiply(const PackedLinear& weight, std::int64_t rows) {
  kernels::cpu::linear(context_, weight, {input_.data(), rows, weight.in_features()},
                       {output_.data(), rows, weight.out_features()});
}

double ModelProducts::run() {
  const auto start = Clock::now();
  for (std::int64_t i = 0; i < num_layers_; ++i) {
    const Layer& layer = layers_[static_cast<std::size_t>(i) % layers_.size()];
    multiply(layer.qkv, rows_);
    multiply(layer.attention_output, rows_);
    multiply(layer.up, rows_);
    multiply(layer.down, rows_);
  }
  multiply(head_, 1);
  return seconds_since(start);
}

}  // namespace gamelan::apps
