#include "train/data/distributed_sampler.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/serialize/archive.h>

#include <algorithm>

namespace gamelan::train {
namespace {

std::vector<std::int64_t> shuffled(std::size_t size, std::int64_t seed) {
  const auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(seed));
  const at::Tensor order = at::randperm(static_cast<std::int64_t>(size), generator, at::kLong);
  const auto* data = order.const_data_ptr<std::int64_t>();
  return {data, data + size};
}

}  // namespace

DistributedSampler::DistributedSampler(std::size_t size, const DistributedSamplerOptions& options)
    : options_(options), size_(size) {
  TORCH_CHECK_VALUE(options.world_size >= 1, "expected a world size of at least 1, got ",
                    options.world_size);
  TORCH_CHECK_VALUE(options.rank >= 0 && options.rank < options.world_size, "Invalid rank ",
                    options.rank, ", rank should be in the interval [0, ", options.world_size - 1,
                    "]");
  begin(0);
}

void DistributedSampler::set_epoch(std::int64_t epoch) {
  if (epoch != epoch_) {
    resume_at_ = 0;
  }
  epoch_ = epoch;
}

void DistributedSampler::reset(std::optional<std::size_t> new_size) {
  if (new_size.has_value() && *new_size != size_) {
    size_ = *new_size;
    order_epoch_ = -1;
    resume_at_ = 0;
  }
  begin(resume_at_);
  resume_at_ = 0;
}

// The order is 0 … size-1, shuffled or not; behind its end it starts over (kRepeat). What is left
// of it from `consumed` on is dealt out to the ranks like cards.
void DistributedSampler::begin(std::int64_t consumed) {
  current_epoch_ = epoch_;
  if (options_.shuffle && (order_epoch_ != epoch_ || order_.size() != size_)) {
    // Unsigned, because seed + epoch may wrap like Python's does in the generator.
    order_ = shuffled(size_, static_cast<std::int64_t>(static_cast<std::uint64_t>(options_.seed) +
                                                       static_cast<std::uint64_t>(epoch_)));
    order_epoch_ = epoch_;
  }
  start_ = consumed;
  position_ = 0;
  const auto ranks = static_cast<std::size_t>(options_.world_size);
  const auto rank = static_cast<std::size_t>(options_.rank);
  const std::size_t left =
      consumed < static_cast<std::int64_t>(size_) ? size_ - static_cast<std::size_t>(consumed) : 0;
  switch (options_.tail) {
    case SamplerTail::kRepeat:
      local_size_ = (left + ranks - 1) / ranks;
      break;
    case SamplerTail::kDrop:
      local_size_ = left / ranks;
      break;
    case SamplerTail::kUneven:
      local_size_ = left > rank ? (left - rank + ranks - 1) / ranks : 0;
      break;
  }
}

std::size_t DistributedSampler::order_at(std::size_t position) const {
  const std::size_t wrapped = position % size_;
  return order_.empty() ? wrapped : static_cast<std::size_t>(order_[wrapped]);
}

std::size_t DistributedSampler::index(std::size_t i) const {
  TORCH_CHECK_INDEX(i < local_size_, "sample ", i, " of ", local_size_, " on rank ", options_.rank);
  return order_at(static_cast<std::size_t>(start_) +
                  i * static_cast<std::size_t>(options_.world_size) +
                  static_cast<std::size_t>(options_.rank));
}

std::vector<std::size_t> DistributedSampler::indices() const {
  std::vector<std::size_t> result(local_size_);
  for (std::size_t i = 0; i < local_size_; ++i) {
    result[i] = index(i);
  }
  return result;
}

std::optional<std::vector<std::size_t>> DistributedSampler::next(std::size_t batch_size) {
  const std::size_t count = std::min(batch_size, local_size_ - position_);
  if (count == 0) {
    return std::nullopt;
  }
  std::vector<std::size_t> batch(count);
  for (std::size_t i = 0; i < count; ++i) {
    batch[i] = index(position_ + i);
  }
  position_ += count;
  return batch;
}

SamplerState DistributedSampler::state(std::size_t consumed_here) const {
  TORCH_CHECK_VALUE(consumed_here <= local_size_, "expected at most the ", local_size_,
                    " samples of rank ", options_.rank, " in this epoch, got ", consumed_here);
  // A rank that has finished its uneven share has finished the epoch.
  const std::int64_t consumed =
      options_.tail == SamplerTail::kUneven && consumed_here == local_size_
          ? static_cast<std::int64_t>(size_)
          : start_ + static_cast<std::int64_t>(consumed_here) * options_.world_size;
  return {static_cast<std::int64_t>(size_), options_.seed, current_epoch_, consumed};
}

void DistributedSampler::restore(const SamplerState& state) {
  TORCH_CHECK_VALUE(state.size == static_cast<std::int64_t>(size_),
                    "the state is of a data set of ", state.size, " samples, this one has ", size_);
  TORCH_CHECK_VALUE(!options_.shuffle || state.seed == options_.seed,
                    "the state's order was drawn from seed ", state.seed,
                    ", this sampler has seed ", options_.seed);
  TORCH_CHECK_VALUE(state.consumed >= 0, "the state says that ", state.consumed,
                    " samples were consumed");
  epoch_ = state.epoch;
  resume_at_ = state.consumed;
  begin(state.consumed);
}

void DistributedSampler::save(torch::serialize::OutputArchive& archive) const {
  const SamplerState now = state();
  archive.write("size", at::scalar_tensor(now.size, at::kLong));
  archive.write("seed", at::scalar_tensor(now.seed, at::kLong));
  archive.write("epoch", at::scalar_tensor(now.epoch, at::kLong));
  archive.write("consumed", at::scalar_tensor(now.consumed, at::kLong));
}

void DistributedSampler::load(torch::serialize::InputArchive& archive) {
  const auto read = [&archive](const char* key) {
    at::Tensor value;
    archive.read(key, value);
    return value.item<std::int64_t>();
  };
  restore({read("size"), read("seed"), read("epoch"), read("consumed")});
}

}  // namespace gamelan::train
