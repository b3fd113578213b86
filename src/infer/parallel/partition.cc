#include "infer/parallel/partition.h"

#include <algorithm>
#include <numeric>

namespace gamelan::infer {
namespace {

// Parts of at least this many units are cut at panels of 64 outputs, which products compute
// together (kernels/cpu/linear.h): narrower ones would be padded in every part.
constexpr std::int64_t kPanel = 64;
constexpr std::int64_t kPanelsWorthAligning = 4;

std::int64_t unit_of(std::int64_t total, int parts) {
  return total >= kPanel * kPanelsWorthAligning * parts ? kPanel : 1;
}

/// Weights of one block, as far as they grow with the model's sizes.
std::int64_t block_weights(const io::ModelConfig& config) {
  const std::int64_t attention = config.head_dim * (2 * config.num_heads + 2 * config.num_kv_heads);
  const std::int64_t mlp = config.intermediate_size * (config.gated_mlp ? 3 : 2);
  return config.hidden_size * (attention + mlp);
}

// The last stage has the output head too, which is as much as several blocks when the vocabulary is
// large. It gives up blocks for that as long as the fullest stage becomes less full. (The table of
// embeddings is not held by the first stage but stays in the file.)
std::int64_t blocks_of_last_stage(const io::ModelConfig& config, int stages) {
  const std::int64_t block = block_weights(config);
  const std::int64_t head = config.vocab_size * config.embedding_size;
  const auto fullest = [&](std::int64_t last) {
    const std::int64_t others = config.num_layers - last;
    return std::max((others + stages - 2) / (stages - 1) * block, last * block + head);
  };
  std::int64_t best = part_of(config.num_layers, stages, stages - 1).count;
  for (std::int64_t last = best - 1; last >= 1; --last) {
    best = fullest(last) < fullest(best) ? last : best;
  }
  return best;
}

Range layers_of(const io::ModelConfig& config, int stages, int stage) {
  if (stages == 1) {
    return {0, config.num_layers};
  }
  const std::int64_t last = blocks_of_last_stage(config, stages);
  const std::int64_t others = config.num_layers - last;
  return stage == stages - 1 ? Range{others, last} : part_of(others, stages - 1, stage);
}

base::Status check_sizes(const io::ModelConfig& config, int tensor_size, int pipeline_size) {
  if (tensor_size < 1 || pipeline_size < 1) {
    return base::invalid_argument(
        "tensor and pipeline parallel sizes: expected at least 1, got {} and {}", tensor_size,
        pipeline_size);
  }
  if (config.num_heads % tensor_size != 0) {
    return base::invalid_argument(
        "tensor parallel size {}: expected a divisor of the model's {} attention heads",
        tensor_size, config.num_heads);
  }
  if (config.num_layers < pipeline_size) {
    return base::invalid_argument("pipeline parallel size {}: the model has {} layers only",
                                  pipeline_size, config.num_layers);
  }
  if (std::min(config.intermediate_size, config.vocab_size) < tensor_size) {
    return base::invalid_argument(
        "tensor parallel size {}: more than the MLP's width {} or the vocabulary {}", tensor_size,
        config.intermediate_size, config.vocab_size);
  }
  return base::OkStatus();
}

}  // namespace

Range part_of(std::int64_t total, int parts, int part, std::int64_t unit) {
  const auto bound = [&](std::int64_t n) {
    return n == parts ? total : total / unit * n / parts * unit;
  };
  return {bound(part), bound(part + 1) - bound(part)};
}

Range vocabulary_range(std::int64_t vocabulary, int tensor_size, int rank) {
  return part_of(vocabulary, tensor_size, rank, unit_of(vocabulary, tensor_size));
}

HeadShare head_share(const io::ModelConfig& config, int tensor_size, int tensor_rank) {
  HeadShare share{part_of(config.num_heads, tensor_size, tensor_rank), {}};
  const std::int64_t group = config.num_heads / config.num_kv_heads;
  // The longest runs of query heads that neither leave this rank nor their group.
  const std::int64_t run = std::gcd(share.queries.count, group);
  for (std::int64_t head = share.queries.first; head < share.queries.end(); head += run) {
    share.kv_heads.push_back(head / group);
  }
  return share;
}

base::StatusOr<Partition> partition_of(const io::ModelConfig& config, int tensor_size,
                                       int pipeline_size, int rank) {
  GAMELAN_RETURN_IF_ERROR(check_sizes(config, tensor_size, pipeline_size));
  Partition partition;
  partition.tensor_rank = rank % tensor_size;
  partition.tensor_size = tensor_size;
  partition.stage = rank / tensor_size;
  partition.stages = pipeline_size;
  partition.layers = layers_of(config, pipeline_size, partition.stage);
  partition.heads = head_share(config, tensor_size, partition.tensor_rank);
  partition.mlp = part_of(config.intermediate_size, tensor_size, partition.tensor_rank,
                          unit_of(config.intermediate_size, tensor_size));
  partition.vocabulary = vocabulary_range(config.vocab_size, tensor_size, partition.tensor_rank);
  for (int other = 0; other < tensor_size; ++other) {
    partition.widest_vocabulary = std::max(
        partition.widest_vocabulary, vocabulary_range(config.vocab_size, tensor_size, other).count);
  }
  return partition;
}

}  // namespace gamelan::infer
