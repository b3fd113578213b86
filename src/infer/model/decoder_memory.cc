// What a Decoder's step takes of the arena: the same pieces that its methods take, added up, so
// that they can be there before the first step.

#include <algorithm>

#include "infer/model/decoder.h"

namespace gamelan::infer {
namespace {

std::size_t floats(std::int64_t rows, std::int64_t columns) {
  return device::Arena::rounded(static_cast<std::size_t>(rows * columns) * sizeof(float));
}

std::size_t workspace_of(const Projection& projection, std::int64_t rows) {
  return projection.empty() ? 0 : kernels::cpu::linear_workspace_bytes(projection.weight, rows);
}

}  // namespace

std::size_t Decoder::embedding_bytes(std::int64_t rows) const {
  std::size_t bytes = 0;
  if (!project_in_.empty()) {
    bytes += floats(rows, config().embedding_size);
  }
  const std::size_t positions =
      position_embedding_.empty() ? 0 : floats(rows, 1) + floats(rows, config().hidden_size);
  return bytes + std::max(workspace_of(project_in_, rows), positions);
}

std::size_t Decoder::head_bytes(std::int64_t rows) const {
  const std::int64_t vocabulary = config().vocab_size;
  if (!partition_.last_stage()) {
    return links_.wants_logits() ? floats(rows, vocabulary) : 0;
  }
  const std::int64_t stride = partition_.widest_vocabulary;
  const bool first = partition_.tensor_rank == 0;
  const std::size_t all = first && !links_.wants_logits() ? floats(rows, vocabulary) : 0;
  const std::size_t mine = partition_.tensor_size > 1 ? floats(rows, stride) : 0;
  const std::size_t parts =
      partition_.tensor_size > 1 && first ? floats(rows * partition_.tensor_size, stride) : 0;
  return all + mine + std::max(head_.workspace_bytes(rows), parts);
}

std::size_t Decoder::step_bytes(const CacheOptions& options, std::int64_t blocks) const {
  // Every token of a step has a place in the cache.
  const std::int64_t rows = std::min(options.step_tokens, blocks * options.block_tokens);
  if (rows <= 0) {
    return 0;
  }
  std::size_t workspace =
      std::max(embedding_bytes(rows), head_bytes(std::min(options.step_logits, rows)));
  workspace = std::max(workspace, kernels::cpu::attention_workspace_bytes(
                                      context_, layout(options), shape_.heads, rows, blocks));
  for (const Block& block : blocks_) {
    workspace = std::max(workspace, block.workspace_bytes(rows));
  }
  return attention_.step_bytes(rows) + Activations::bytes(rows, shape_) + workspace;
}

}  // namespace gamelan::infer
