#include "gamelan-train/bert_classify_task.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <utility>

#include "base/clock.h"
#include "train/autocast.h"

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
                                   std::shared_ptr<dist::ProcessGroup> group,
                                   const Options& options)
    : ModelTask(std::move(model), std::move(group), options),
      training_(training),
      evaluation_(evaluation),
      collate_(options.collate) {}

train::TrainingSet BertClassifyTask::training_set() {
  return {training_.size(), training_.lengths()};
}

at::Tensor BertClassifyTask::loss(std::span<const std::size_t> indices) {
  return loss_of(training_.batch(indices, collate_));
}

nlohmann::json BertClassifyTask::evaluate(std::int64_t epoch) {
  if (evaluation_ == nullptr) {
    return nlohmann::json::object();
  }
  const base::TimePoint start = base::Clock::now();
  const auto size = static_cast<std::size_t>(evaluation_->size());
  const at::Tensor logits = measure(size, "sample", [this](auto mine, base::ProgressBar& bar) {
    return classify(*bare_model(), *evaluation_, mine, common().eval_batch_size, common().bf16,
                    [&bar](std::int64_t count) { bar.advance(count); });
  });
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

}  // namespace gamelan::apps
