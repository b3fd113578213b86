#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "train/data/distributed_sampler.h"

namespace gamelan::train {

/// An order of all samples in which neighbours have similar lengths: a random order is cut into
/// pieces of up to 50 micro-batches (at most a quarter of all), each is sorted by falling length,
/// and the longest sample of all comes first, so that a lack of memory shows at once. As
/// HuggingFace's get_length_grouped_indices. The number of ranks has no part in it.
std::vector<std::size_t> length_grouped_order(const std::vector<std::int64_t>& lengths,
                                              std::size_t batch_size, std::uint64_t seed);

/// Which samples this rank trains on in an epoch, in which order: DistributedSampler's, or that
/// grouped by length, dealt to the ranks in the same way. A function of the options and the epoch
/// alone.
class EpochOrder {
 public:
  struct Options {
    std::int64_t size = 0;
    /// Of every sample; empty = do not group by length.
    std::vector<std::int64_t> lengths;
    int rank = 0;
    int world_size = 1;
    std::int64_t batch_size = 1;  ///< of one rank's micro-batch
    std::uint64_t seed = 0;
    bool shuffle = true;
    bool drop_last = false;
  };

  /// Throws c10::Error when a number of lengths other than `size` is given.
  explicit EpochOrder(Options options);

  /// Goes to `epoch`, behind the first `consumed` samples of its order (of all ranks together).
  void begin(std::int64_t epoch, std::int64_t consumed);
  /// What this rank has left since `begin`, cut into micro-batches by `batch`.
  std::int64_t batches() const;
  std::span<const std::size_t> batch(std::int64_t number) const;
  /// Micro-batches of one rank in a whole epoch.
  std::int64_t batches_per_epoch() const;

 private:
  void begin_grouped(std::int64_t epoch, std::size_t consumed);
  std::int64_t count_batches(std::size_t samples) const;

  Options options_;
  std::optional<DistributedSampler> sampler_;
  std::vector<std::size_t> indices_;
};

}  // namespace gamelan::train
