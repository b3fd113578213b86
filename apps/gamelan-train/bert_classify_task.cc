#include "gamelan-train/bert_classify_task.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <utility>

#include "base/clock.h"
#include "base/progress_bar.h"
#include "train/autocast.h"
#include "train/data/distributed_sampler.h"
#include "train/data/ordered_gather.h"

namespace gamelan::apps {

using train::BertForSequenceClassification;
using train::BertForSequenceClassificationImpl;
using train::TokenizedDataset;

at::Tensor classify(BertForSequenceClassificationImpl& model, const TokenizedDataset& data,
                    std::span<const std::size_t> indices, std::int64_t batch_size, bool bf16,
                    const std::function<void(std::int64_t)>& on_batch) {
  const at::NoGradGuard no_grad;
  model.eval();
  const std::int64_t labels = model.config().num_labels;
  at::Tensor logits = at::empty({static_cast<std::int64_t>(indices.size()), labels}, at::kFloat);
  // Texts of one length together waste nothing in attention; the longest first show a lack of
  // memory.
  std::vector<std::size_t> order(indices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return data.length(static_cast<std::int64_t>(indices[a])) >
           data.length(static_cast<std::int64_t>(indices[b]));
  });
  for (std::size_t first = 0; first < order.size(); first += batch_size) {
    const std::size_t count = std::min<std::size_t>(batch_size, order.size() - first);
    std::vector<std::size_t> samples(count);
    for (std::size_t i = 0; i < count; ++i) {
      samples[i] = indices[order[first + i]];
    }
    at::Tensor batch_logits;
    {
      const train::AutocastScope autocast(bf16);
      train::TextBatch batch = data.batch(samples, {});
      batch.labels.reset();
      batch_logits = model.forward(batch).logits;
    }
    for (std::size_t i = 0; i < count; ++i) {
      logits[static_cast<std::int64_t>(order[first + i])].copy_(
          batch_logits[static_cast<std::int64_t>(i)]);
    }
    on_batch(static_cast<std::int64_t>(count));
  }
  return logits;
}

BertClassifyTask::BertClassifyTask(BertForSequenceClassification model,
                                   const TokenizedDataset& training,
                                   const TokenizedDataset* evaluation,
                                   std::shared_ptr<dist::ProcessGroup> group, Options options)
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

train::TrainingSet BertClassifyTask::training_set() {
  return {training_.size(), training_.lengths()};
}

at::Tensor BertClassifyTask::loss(std::span<const std::size_t> indices) {
  const train::TextBatch batch = training_.batch(indices, options_.collate);
  return ddp_ ? ddp_->forward(batch).loss : model_->forward(batch).loss;
}

std::shared_ptr<void> BertClassifyTask::no_sync() {
  return ddp_ ? std::make_shared<train::DistributedDataParallelBase::NoSync>(ddp_->no_sync())
              : nullptr;
}

nlohmann::json BertClassifyTask::evaluate(std::int64_t epoch) {
  if (evaluation_ == nullptr) {
    return nlohmann::json::object();
  }
  const base::TimePoint start = base::Clock::now();
  const auto size = static_cast<std::size_t>(evaluation_->size());
  train::DistributedSamplerOptions sampler;
  sampler.rank = group_ == nullptr ? 0 : group_->rank();
  sampler.world_size = group_ == nullptr ? 1 : group_->size();
  sampler.shuffle = false;
  sampler.tail = train::SamplerTail::kUneven;
  const std::vector<std::size_t> mine = train::DistributedSampler(size, sampler).indices();

  base::ProgressBar bar({.title = "Evaluating",
                         .total = static_cast<std::int64_t>(mine.size()),
                         .unit = "sample",
                         .enabled = first_rank() && options_.progress_bar});
  at::Tensor logits = classify(*model_, *evaluation_, mine, options_.eval_batch_size, options_.bf16,
                               [&bar](std::int64_t count) { bar.advance(count); });
  bar.finish();
  if (group_ != nullptr) {
    logits = train::gather_in_order(*group_, logits, mine, size,
                                    {.root = train::OrderedGatherOptions::kAllRanks});
  }
  const at::Tensor labels = at::tensor(evaluation_->labels(), at::kLong);
  const std::int64_t right = logits.argmax(1).eq(labels).sum().item<std::int64_t>();
  const double accuracy = static_cast<double>(right) / static_cast<double>(size);
  const double loss = at::cross_entropy_loss(logits, labels).item<double>();
  const double seconds = base::seconds(base::Clock::now() - start);
  if (first_rank()) {
    fmt::print("Accuracy on evaluation set: {:.4f} ({} of {}, loss {:.4f}, {:.1f} s)\n", accuracy,
               right, size, loss, seconds);
    std::fflush(stdout);
  }
  return {{"accuracy", accuracy}, {"loss", loss}, {"samples", size}, {"seconds", seconds}};
}

void BertClassifyTask::save_result() {
  if (first_rank()) {
    options_.save(*model_);
  }
}

}  // namespace gamelan::apps
