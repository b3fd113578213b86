#include "infer/layers/cached_attention.h"

#include <cmath>

#include "kernels/alibi.h"
#include "kernels/cpu/rotary.h"

namespace gamelan::infer {
namespace {

using kernels::cpu::SequenceRows;

std::vector<float> slopes_of(const io::ModelConfig& config, Range heads) {
  if (config.positions != io::Positions::kAlibi) {
    return {};
  }
  const std::vector<float> all = kernels::alibi_slopes(config.num_heads);
  return {all.begin() + heads.first, all.begin() + heads.end()};
}

}  // namespace

CachedAttention::CachedAttention(const io::ModelConfig& config, const Partition& partition)
    : config_(config),
      layers_(partition.layers),
      last_stage_(partition.last_stage()),
      heads_(partition.heads.queries.count),
      kv_heads_(static_cast<std::int64_t>(partition.heads.kv_heads.size())),
      slopes_(slopes_of(config, partition.heads.queries)),
      rotary_(config) {}

std::size_t CachedAttention::step_bytes(std::int64_t rows) const {
  const auto count = static_cast<std::size_t>(rows);
  const std::size_t rotation = rotary_.rotary_dim() > 0 ? rotary_.rows_bytes(rows) : 0;
  return 2 * device::Arena::rounded(count * sizeof(SequenceRows)) +
         device::Arena::rounded(count * sizeof(std::int32_t)) + rotation;
}

void CachedAttention::begin(const kernels::Context& context, const StepPlan& plan,
                            const KvStorage& cache) {
  context_ = context;
  cache_ = &cache;
  device::Arena& arena = *context.workspace;
  const auto count = static_cast<std::int64_t>(plan.sequences.size());
  auto* const sequences = arena.take<SequenceRows>(count);
  auto* const with_logits = arena.take<SequenceRows>(count);
  auto* const rows = arena.take<std::int32_t>(plan.logit_rows());
  std::size_t logit_sequences = 0;
  std::size_t logit_rows = 0;
  std::int32_t row = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const StepSequence& s = plan.sequences[static_cast<std::size_t>(i)];
    const std::span<const std::int32_t> table(plan.blocks.data() + s.first_block,
                                              static_cast<std::size_t>(s.block_count));
    new (sequences + i) SequenceRows{row, s.tokens, s.position, table};
    row += s.tokens;
    if (s.logits > 0) {
      new (with_logits + logit_sequences++)
          SequenceRows{row - s.logits, s.logits, s.position + s.tokens - s.logits, table};
      for (std::int32_t n = s.logits; n > 0; --n) {
        rows[logit_rows++] = row - n;
      }
    }
  }
  sequences_ = {sequences, plan.sequences.size()};
  logit_sequences_ = {with_logits, logit_sequences};
  logit_rows_ = {rows, logit_rows};
  if (rotary_.rotary_dim() > 0) {
    rotation_ = rotary_.rows_of(plan, arena);
  }
}

void CachedAttention::attend(std::int64_t layer, tensor::MatrixView<float> queries,
                             tensor::MatrixView<float> keys, tensor::MatrixView<float> values,
                             tensor::MatrixView<float> out) {
  if (rotary_.rotary_dim() > 0) {
    kernels::cpu::rotate(context_, rotation_.positions, rotation_.table, heads_, config_.head_dim,
                         queries);
    kernels::cpu::rotate(context_, rotation_.positions, rotation_.table, kv_heads_,
                         config_.head_dim, keys);
  }
  const kernels::cpu::KvBlocks cache = cache_->layer(layer);
  kernels::cpu::append_kv(context_, keys, values, sequences_, cache);
  const std::int64_t number = layers_.first + layer;
  double scale =
      config_.scale_scores ? 1.0 / std::sqrt(static_cast<double>(config_.head_dim)) : 1.0;
  if (config_.scale_scores_by_layer) {
    scale /= static_cast<double>(number + 1);
  }
  const bool last = last_stage_ && layer == layers_.count - 1;
  kernels::cpu::attention(context_, queries, last ? logit_sequences_ : sequences_, cache,
                          {.heads = heads_,
                           .scale = static_cast<float>(scale),
                           .alibi_slopes = slopes_,
                           .window = io::window_of_layer(config_, number)},
                          out);
}

}  // namespace gamelan::infer
