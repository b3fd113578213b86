#include "train/trainer/epoch_order.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <utility>

namespace gamelan::train {
namespace {

/// HuggingFace's: large enough for batches of one length, small enough to keep the order random.
constexpr std::size_t kBatchesPerPiece = 50;

}  // namespace

std::vector<std::size_t> length_grouped_order(const std::vector<std::int64_t>& lengths,
                                              std::size_t batch_size, std::uint64_t seed) {
  const std::size_t size = lengths.size();
  const auto generator = at::detail::createCPUGenerator(seed);
  const at::Tensor drawn = at::randperm(static_cast<std::int64_t>(size), generator, at::kLong);
  std::vector<std::size_t> order(drawn.const_data_ptr<std::int64_t>(),
                                 drawn.const_data_ptr<std::int64_t>() + size);
  const std::size_t batches = std::clamp<std::size_t>(size / (batch_size * 4), 1, kBatchesPerPiece);
  const std::size_t piece = batches * batch_size;
  std::size_t longest = 0;
  for (std::size_t start = 0; start < size; start += piece) {
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(start);
    const auto last = order.begin() + static_cast<std::ptrdiff_t>(std::min(start + piece, size));
    std::stable_sort(first, last,
                     [&](std::size_t a, std::size_t b) { return lengths[a] > lengths[b]; });
    if (lengths[order[start]] > lengths[order[longest]]) {
      longest = start;
    }
  }
  if (size > 0) {
    std::swap(order[0], order[longest]);
  }
  return order;
}

EpochOrder::EpochOrder(Options options) : options_(std::move(options)) {
  TORCH_CHECK_VALUE(options_.size > 0, "expected a training set of at least one sample, got ",
                    options_.size);
  if (!options_.lengths.empty()) {
    TORCH_CHECK_VALUE(static_cast<std::int64_t>(options_.lengths.size()) == options_.size,
                      "expected the lengths of ", options_.size, " samples, got ",
                      options_.lengths.size());
  } else {
    DistributedSamplerOptions sampler;
    sampler.world_size = options_.world_size;
    sampler.rank = options_.rank;
    sampler.shuffle = options_.shuffle;
    sampler.seed = static_cast<std::int64_t>(options_.seed);
    sampler.tail = options_.drop_last ? SamplerTail::kDrop : SamplerTail::kRepeat;
    sampler_.emplace(static_cast<std::size_t>(options_.size), sampler);
  }
  begin(0, 0);
}

void EpochOrder::begin(std::int64_t epoch, std::int64_t consumed) {
  if (!sampler_) {
    begin_grouped(epoch, static_cast<std::size_t>(consumed));
    return;
  }
  SamplerState state = sampler_->state(0);
  state.epoch = epoch;
  state.consumed = consumed;
  sampler_->restore(state);
  indices_ = sampler_->indices();
}

void EpochOrder::begin_grouped(std::int64_t epoch, std::size_t consumed) {
  const auto ranks = static_cast<std::size_t>(options_.world_size);
  const auto size = static_cast<std::size_t>(options_.size);
  const std::vector<std::size_t> order =
      length_grouped_order(options_.lengths, static_cast<std::size_t>(options_.batch_size),
                           options_.seed + static_cast<std::uint64_t>(epoch));
  const std::size_t left = consumed < size ? size - consumed : 0;
  const std::size_t mine = options_.drop_last ? left / ranks : (left + ranks - 1) / ranks;
  indices_.resize(mine);
  for (std::size_t i = 0; i < mine; ++i) {
    indices_[i] = order[(consumed + i * ranks + static_cast<std::size_t>(options_.rank)) % size];
  }
}

std::int64_t EpochOrder::count_batches(std::size_t samples) const {
  const auto batch = static_cast<std::size_t>(options_.batch_size);
  return static_cast<std::int64_t>(options_.drop_last ? samples / batch
                                                      : (samples + batch - 1) / batch);
}

std::int64_t EpochOrder::batches() const {
  return count_batches(indices_.size());
}

std::span<const std::size_t> EpochOrder::batch(std::int64_t number) const {
  const auto size = static_cast<std::size_t>(options_.batch_size);
  const std::size_t first = static_cast<std::size_t>(number) * size;
  return std::span(indices_).subspan(first, std::min(size, indices_.size() - first));
}

std::int64_t EpochOrder::batches_per_epoch() const {
  const auto ranks = static_cast<std::size_t>(options_.world_size);
  const auto size = static_cast<std::size_t>(options_.size);
  return count_batches(options_.drop_last ? size / ranks : (size + ranks - 1) / ranks);
}

}  // namespace gamelan::train
