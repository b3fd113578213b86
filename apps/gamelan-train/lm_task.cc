#include "gamelan-train/lm_task.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "train/autocast.h"

namespace gamelan::apps {
namespace {

std::int64_t at_most(std::int64_t size, std::int64_t limit) {
  return limit > 0 ? std::min(size, limit) : size;
}

}  // namespace

LmTask::LmTask(train::CausalLM model, const train::TokenBlocks& training,
               const train::TokenBlocks* evaluation, std::shared_ptr<dist::ProcessGroup> group,
               const Options& options)
    : ModelTask(std::move(model), std::move(group), options),
      training_(training),
      evaluation_(evaluation),
      max_train_samples_(options.max_train_samples),
      max_eval_samples_(options.max_eval_samples) {}

train::TrainingSet LmTask::training_set() {
  return {at_most(training_.size(), max_train_samples_), {}};
}

at::Tensor LmTask::loss(std::span<const std::size_t> indices) {
  return loss_of(training_.batch(indices));
}

at::Tensor LmTask::losses_of(std::span<const std::size_t> blocks, base::ProgressBar& bar) {
  const at::NoGradGuard no_grad;
  bare_model()->eval();
  at::Tensor losses = at::empty({static_cast<std::int64_t>(blocks.size())}, at::kDouble);
  const auto batch = static_cast<std::size_t>(common().eval_batch_size);
  for (std::size_t first = 0; first < blocks.size(); first += batch) {
    const auto part = blocks.subspan(first, std::min(batch, blocks.size() - first));
    const train::AutocastScope autocast(common().bf16);
    losses.narrow(0, static_cast<std::int64_t>(first), static_cast<std::int64_t>(part.size()))
        .copy_(bare_model()->token_losses(evaluation_->batch(part)).to(at::kDouble).mean(1));
    bar.advance(static_cast<std::int64_t>(part.size()));
  }
  return losses;
}

nlohmann::json LmTask::evaluate(std::int64_t epoch) {
  if (evaluation_ == nullptr) {
    return nlohmann::json::object();
  }
  const base::TimePoint start = base::Clock::now();
  const std::int64_t blocks = at_most(evaluation_->size(), max_eval_samples_);
  const at::Tensor losses =
      measure(static_cast<std::size_t>(blocks), "block",
              [this](auto mine, base::ProgressBar& bar) { return losses_of(mine, bar); });
  const double loss = losses.mean().item<double>();
  const double perplexity = std::exp(loss);
  const std::int64_t tokens = blocks * (evaluation_->block_size() - 1);
  const double seconds = base::seconds(base::Clock::now() - start);
  if (first_rank()) {
    fmt::print("Perplexity on evaluation set: {:.4f} (loss {:.4f}, {} tokens, {:.1f} s)\n",
               perplexity, loss, tokens, seconds);
    std::fflush(stdout);
  }
  return {{"perplexity", perplexity}, {"loss", loss}, {"tokens", tokens}, {"seconds", seconds}};
}

}  // namespace gamelan::apps
