#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "io/model_config.h"

namespace gamelan::infer {

/// first … first + count - 1.
struct Range {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t end() const { return first + count; }
  bool operator==(const Range&) const = default;
};

/// Part `part` of `total` things in `parts` contiguous parts that differ by one at most; with
/// `unit`, bounds are multiples of it and they differ by one unit and what is left over.
Range part_of(std::int64_t total, int parts, int part, std::int64_t unit = 1);

/// The rows of the output head that tensor rank `rank` computes.
Range vocabulary_range(std::int64_t vocabulary, int tensor_size, int rank);

/// The heads of attention that one rank computes. Groups of query heads that share a key head stay
/// together as far as the split allows; where a group is divided, each of its ranks has a copy of
/// the key head.
struct HeadShare {
  Range queries;
  /// One number for each local key head: which it is in the checkpoint.
  std::vector<std::int64_t> kv_heads;
};
HeadShare head_share(const io::ModelConfig& config, int tensor_size, int tensor_rank);

/// The part of a model that one rank holds: a range of blocks, and of each block its share of
/// heads, of the MLP's width and of the vocabulary (Shoeybi et al. 2019, "Megatron-LM"). Stages hold
/// about as many weights each: the last one, which has the output head, has fewer blocks.
struct Partition {
  int tensor_rank = 0;
  int tensor_size = 1;
  int stage = 0;
  int stages = 1;
  Range layers;
  HeadShare heads;
  Range mlp;
  Range vocabulary;
  /// The widest vocabulary range of all ranks.
  std::int64_t widest_vocabulary = 0;

  bool first_stage() const { return stage == 0; }
  bool last_stage() const { return stage == stages - 1; }
  /// Whether this rank adds biases and residuals to the sums over the ranks of its stage.
  bool adds_residual() const { return tensor_rank == 0; }
};

/// kInvalidArgument when the sizes do not divide the heads or exceed layers, MLP or vocabulary.
base::StatusOr<Partition> partition_of(const io::ModelConfig& config, int tensor_size,
                                       int pipeline_size, int rank);

}  // namespace gamelan::infer
