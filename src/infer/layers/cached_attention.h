#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "infer/layers/block.h"
#include "infer/layers/rotary.h"
#include "infer/model/kv_storage.h"
#include "infer/parallel/partition.h"
#include "io/model_config.h"
#include "kernels/context.h"
#include "kernels/cpu/attention.h"

namespace gamelan::infer {

/// The attention of a decoder: rotates, appends to the cache, attends over it. Made once for a
/// model; begin() tells it of each step.
class CachedAttention final : public LayerAttention {
 public:
  CachedAttention(const io::ModelConfig& config, const Partition& partition);

  /// What begin() takes of the workspace for a step of so many rows, at most.
  std::size_t step_bytes(std::int64_t rows) const;
  /// `cache` and the arena's memory must last as long as the step.
  void begin(const kernels::Context& context, const StepPlan& plan, const KvStorage& cache);
  /// The rows that get logits, rising; valid during the step.
  std::span<const std::int32_t> logit_rows() const { return logit_rows_; }

  void attend(std::int64_t layer, tensor::MatrixView<float> queries, tensor::MatrixView<float> keys,
              tensor::MatrixView<float> values, tensor::MatrixView<float> out) override;

 private:
  io::ModelConfig config_;
  Range layers_;
  /// Whether the last of these layers is the model's last, behind which only rows that get logits
  /// go on.
  bool last_stage_;
  std::int64_t heads_;
  std::int64_t kv_heads_;
  std::vector<float> slopes_;  // of this rank's heads
  RotaryTables rotary_;

  // Of the step.
  kernels::Context context_;
  const KvStorage* cache_ = nullptr;
  RotaryTables::Rows rotation_;
  std::span<const kernels::cpu::SequenceRows> sequences_;
  std::span<const kernels::cpu::SequenceRows> logit_sequences_;
  std::span<const std::int32_t> logit_rows_;
};

}  // namespace gamelan::infer
