#include "gamelan-train/lm_task.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/progress_bar.h"
#include "train/autocast.h"
#include "train/data/distributed_sampler.h"
#include "train/data/ordered_gather.h"

namespace gamelan::apps {
namespace {

std::int64_t at_most(std::int64_t size, std::int64_t limit) {
  return limit > 0 ? std::min(size, limit) : size;
}

}  // namespace

LmTask::LmTask(train::CausalLM model, const train::TokenBlocks& training,
               const train::TokenBlocks* evaluation, std::shared_ptr<dist::ProcessGroup> group,
               Options options)
    : model_(std::move(model)),
      training_(training),
      evaluation_(evaluation),
      group_(std::move(group)),
      options_(std::move(options)) {
  if (group_ != nullptr) {
    train::DistributedDataParallelOptions ddp;
    ddp.bucket_cap_bytes = options_.bucket_cap_bytes;
    ddp_.emplace(model_, group_, ddp);
  }
}

train::TrainingSet LmTask::training_set() {
  return {at_most(training_.size(), options_.max_train_samples), {}};
}

at::Tensor LmTask::loss(std::span<const std::size_t> indices) {
  const at::Tensor ids = training_.batch(indices);
  return ddp_ ? ddp_->forward(ids).loss : model_->forward(ids).loss;
}

std::shared_ptr<void> LmTask::no_sync() {
  return ddp_ ? std::make_shared<train::DistributedDataParallelBase::NoSync>(ddp_->no_sync())
              : nullptr;
}

double LmTask::evaluation_loss(std::size_t blocks) {
  const at::NoGradGuard no_grad;
  model_->eval();
  train::DistributedSamplerOptions sampler;
  sampler.rank = group_ == nullptr ? 0 : group_->rank();
  sampler.world_size = group_ == nullptr ? 1 : group_->size();
  sampler.shuffle = false;
  sampler.tail = train::SamplerTail::kUneven;
  const std::vector<std::size_t> mine = train::DistributedSampler(blocks, sampler).indices();
  base::ProgressBar bar({.title = "Evaluating",
                         .total = static_cast<std::int64_t>(mine.size()),
                         .unit = "block",
                         .enabled = first_rank() && options_.progress_bar});
  at::Tensor losses = at::empty({static_cast<std::int64_t>(mine.size())}, at::kDouble);
  const auto batch = static_cast<std::size_t>(options_.eval_batch_size);
  for (std::size_t first = 0; first < mine.size(); first += batch) {
    const auto part = std::span(mine).subspan(first, std::min(batch, mine.size() - first));
    const train::AutocastScope autocast(options_.bf16);
    losses.narrow(0, static_cast<std::int64_t>(first), static_cast<std::int64_t>(part.size()))
        .copy_(model_->token_losses(evaluation_->batch(part)).to(at::kDouble).mean(1));
    bar.advance(static_cast<std::int64_t>(part.size()));
  }
  bar.finish();
  if (group_ != nullptr) {
    losses = train::gather_in_order(*group_, losses, mine, blocks,
                                    {.root = train::OrderedGatherOptions::kAllRanks});
  }
  return losses.mean().item<double>();
}

nlohmann::json LmTask::evaluate(std::int64_t epoch) {
  if (evaluation_ == nullptr) {
    return nlohmann::json::object();
  }
  const base::TimePoint start = base::Clock::now();
  const std::int64_t blocks = at_most(evaluation_->size(), options_.max_eval_samples);
  const double loss = evaluation_loss(static_cast<std::size_t>(blocks));
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

void LmTask::save_result() {
  if (first_rank()) {
    options_.save(*model_);
  }
}

}  // namespace gamelan::apps
