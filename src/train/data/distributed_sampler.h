#pragma once

#include <torch/data/samplers/base.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gamelan::train {

/// What happens when the data set does not divide evenly among the ranks.
enum class SamplerTail : std::uint8_t {
  /// Samples from the start of the order are repeated: every rank sees equally many. For training.
  kRepeat = 0,
  /// The last samples are left out: every rank sees equally many.
  kDrop = 1,
  /// Nothing is repeated or left out: counts differ by at most one. For evaluation.
  kUneven = 2,
};

struct DistributedSamplerOptions {
  /// Number of processes that share the data set.
  int world_size = 1;
  /// This process, 0 <= rank < world_size.
  int rank = 0;
  /// A new random order each epoch, the same on every rank.
  bool shuffle = true;
  /// The order of an epoch is drawn from seed + epoch.
  std::int64_t seed = 0;
  SamplerTail tail = SamplerTail::kRepeat;
};

/// The position of a job in its data, the same on every rank: what a snapshot keeps.
struct SamplerState {
  std::int64_t size = 0;
  std::int64_t seed = 0;
  std::int64_t epoch = 0;
  /// Samples of the epoch's order that all ranks together have consumed; counts repeated ones.
  std::int64_t consumed = 0;

  bool operator==(const SamplerState&) const = default;
};

/// The part of a data set that one rank sees: positions rank, rank + R, rank + 2R, … of one order
/// that all ranks agree on without talking. Index-exact with torch.utils.data.DistributedSampler of
/// Python (kRepeat: drop_last=False, kDrop: drop_last=True): the order is LibTorch's
/// `randperm(size)` from an MT19937 generator seeded with seed + epoch.
///
/// As with every LibTorch sampler `reset()` begins an epoch and `next()` hands out indices; the
/// first epoch has begun after construction. Call `set_epoch` before `reset`, else every epoch has
/// the same order.
///
/// Resuming: because rank r holds every R-th position, what R ranks have consumed after k samples
/// each is the first k * R positions of the order. `restore` continues behind them, also with
/// another number of ranks: no sample is lost or seen twice (but for the repeated ones of kRepeat).
///
/// Not thread-safe. Throws c10::Error for wrong options and for states of another data set.
class DistributedSampler : public torch::data::samplers::Sampler<> {
 public:
  DistributedSampler(std::size_t size, const DistributedSamplerOptions& options);

  /// The epoch that the next `reset` begins.
  void set_epoch(std::int64_t epoch);
  std::int64_t epoch() const { return epoch_; }

  /// Begins the epoch: at its start, or once after `restore` where the state says.
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  /// At most `batch_size` indices; nullopt when this rank's part of the epoch is exhausted.
  std::optional<std::vector<std::size_t>> next(std::size_t batch_size) override;

  /// Samples of this rank in the epoch that `reset` began, after a restore in what is left of it.
  std::size_t local_size() const { return local_size_; }
  /// Samples handed out since `reset`.
  std::size_t position() const { return position_; }
  /// The index of this rank's `i`-th sample since `reset`. REQUIRES: i < local_size().
  std::size_t index(std::size_t i) const;
  /// All of them.
  std::vector<std::size_t> indices() const;

  /// The position when every rank has consumed as many samples as `next` handed out here. A loader
  /// that reads ahead must say how many of them were really trained on.
  SamplerState state() const { return state(position_); }
  SamplerState state(std::size_t consumed_here) const;
  /// Goes to the epoch of `state` and begins it behind what was consumed; a `reset` that follows
  /// with the same epoch stays there. Seed and size must be this sampler's.
  void restore(const SamplerState& state);

  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

 private:
  void begin(std::int64_t consumed);
  std::size_t order_at(std::size_t position) const;

  DistributedSamplerOptions options_;
  std::size_t size_;
  std::int64_t epoch_ = 0;
  /// Where the next reset() begins, set by restore().
  std::int64_t resume_at_ = 0;

  // The epoch under way. `order_` is empty when not shuffled.
  std::int64_t current_epoch_ = 0;
  std::vector<std::int64_t> order_;
  std::int64_t order_epoch_ = -1;
  std::int64_t start_ = 0;
  std::size_t local_size_ = 0;
  std::size_t position_ = 0;
};

}  // namespace gamelan::train
