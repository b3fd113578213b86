// Where the time of one training step of BERT goes, on one process, on random weights and tokens.
//
//   bert_step_bench --hidden 384 --layers 6 --batch 8 --length 32 --bf16
//
// Lengths are spread evenly over [length / 2, length]. Prints the median of --rounds steps.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/optim/optimizer.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <vector>

#include "base/clock.h"
#include "base/memory.h"
#include "train/autocast.h"
#include "train/data/text_batch.h"
#include "train/models/bert.h"
#include "train/models/bert_weights.h"
#include "train/optim/make_optimizer.h"

namespace {

using namespace gamelan;

struct Options {
  std::int64_t hidden = 384;
  std::int64_t layers = 6;
  std::int64_t heads = 12;
  std::int64_t batch = 8;
  std::int64_t length = 32;
  double dropout = 0.1;
  bool bf16 = false;
  bool padded = false;
  int threads = 1;
  int rounds = 20;
};

train::TextBatch random_batch(const Options& options, const io::BertConfig& config) {
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<train::Sequence> sequences;
  for (std::int64_t i = 0; i < options.batch; ++i) {
    const std::int64_t length =
        options.length / 2 + (options.length - options.length / 2) * (i + 1) / options.batch;
    std::vector<std::int32_t>& ids = tokens.emplace_back(length);
    for (std::int32_t& id : ids) {
      id = static_cast<std::int32_t>(at::randint(config.vocab_size, {1}).item<std::int64_t>());
    }
  }
  for (const auto& ids : tokens) {
    sequences.push_back({ids, ids.size(), static_cast<std::int64_t>(sequences.size() % 2)});
  }
  return train::collate(sequences, {.pad_to = options.padded ? options.length : 0});
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

void run(const Options& options) {
  at::set_num_threads(options.threads);
  at::manual_seed(1);
  io::BertConfig config;
  config.hidden_size = options.hidden;
  config.num_hidden_layers = options.layers;
  config.num_attention_heads = options.heads;
  config.intermediate_size = 4 * options.hidden;
  config.hidden_dropout_prob = config.attention_probs_dropout_prob = options.dropout;
  train::BertForSequenceClassification model(config);
  train::initialize_bert(*model, 1);
  const auto optimizer = train::make_optimizer({}, train::decay_groups(*model));
  const train::TextBatch batch = random_batch(options, config);
  std::vector<double> forward, backward, step;
  for (int round = 0; round < options.rounds + 2; ++round) {
    const auto t0 = base::Clock::now();
    at::Tensor loss;
    {
      const train::AutocastScope autocast(options.bf16);
      loss = model->forward(batch).loss;
    }
    const auto t1 = base::Clock::now();
    for (at::Tensor& parameter : model->parameters()) {
      if (parameter.grad().defined()) {
        parameter.mutable_grad().zero_();
      }
    }
    loss.backward();
    const auto t2 = base::Clock::now();
    optimizer->step();
    const auto t3 = base::Clock::now();
    if (round >= 2) {
      forward.push_back(base::seconds(t1 - t0) * 1e3);
      backward.push_back(base::seconds(t2 - t1) * 1e3);
      step.push_back(base::seconds(t3 - t2) * 1e3);
    }
  }
  fmt::print(
      "{} tokens, {} threads, {}: forward {:.1f} ms, zero_grad+backward {:.1f} ms, AdamW {:.1f} "
      "ms\n",
      batch.layout.rows(), options.threads, options.bf16 ? "bf16" : "fp32", median(forward),
      median(backward), median(step));
}

}  // namespace

int main(int argc, char** argv) {
  base::keep_freed_memory();  // as gamelan-train does
  Options options;
  CLI::App app("Time of one training step of BERT");
  app.add_option("--hidden", options.hidden);
  app.add_option("--layers", options.layers);
  app.add_option("--heads", options.heads);
  app.add_option("--batch", options.batch, "Sequences");
  app.add_option("--length", options.length, "Longest sequence, in tokens");
  app.add_option("--dropout", options.dropout);
  app.add_flag("--bf16", options.bf16);
  app.add_flag("--padded", options.padded, "Pad every sequence to --length");
  app.add_option("--threads", options.threads);
  app.add_option("--rounds", options.rounds);
  CLI11_PARSE(app, argc, argv);
  run(options);
}
