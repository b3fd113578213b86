#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/arena.h"
#include "infer/layers/block.h"
#include "infer/layers/cached_attention.h"
#include "infer/layers/embedding.h"
#include "infer/layers/head.h"
#include "infer/model/kv_storage.h"
#include "infer/model/load_model.h"
#include "infer/model/model_part.h"
#include "infer/parallel/stage_links.h"
#include "io/model_files.h"
#include "kernels/weight_scheme.h"

namespace gamelan::infer {

/// A decoder of any architecture on the CPU, or the part of it that this rank holds. Every rank of
/// a parallel model runs the same plans; logits arrive on rank 0.
class Decoder final : public ModelPart {
 public:
  static base::StatusOr<std::unique_ptr<Decoder>> load(io::ModelFiles files,
                                                       const kernels::Context& context,
                                                       const LoadOptions& options);

  const io::ModelConfig& config() const override { return files_.config; }
  tensor::DType natural_cache_dtype() const override;
  std::size_t cache_block_bytes(const CacheOptions& options) const override;
  base::Status create_cache(const CacheOptions& options, std::int64_t blocks) override;
  base::Status forward(const StepPlan& plan, tensor::MatrixView<float> logits) override;
  std::size_t weight_bytes() const override;
  kernels::WeightScheme scheme() const override { return scheme_; }
  std::string description() const override;

  base::Status check(const StepPlan& plan) const override;
  /// For tests: what the steps' arena did.
  const device::Arena& arena() const { return arena_; }

 private:
  Decoder(io::ModelFiles files, const kernels::Context& context, const Partition& partition,
          const LoadOptions& options, kernels::WeightScheme scheme);

  base::Status load_layers();
  base::Status load_head();
  kernels::cpu::KvLayout layout(const CacheOptions& options) const;
  std::size_t step_bytes(const CacheOptions& options, std::int64_t blocks) const;
  std::size_t embedding_bytes(std::int64_t rows) const;
  std::size_t head_bytes(std::int64_t rows) const;
  void embed(const StepPlan& plan, tensor::MatrixView<float> x);
  base::Status run_blocks(Activations& a);
  base::Status compute_logits(tensor::MatrixView<float> x, tensor::MatrixView<float> logits);

  io::ModelFiles files_;
  device::Arena arena_;
  kernels::Context context_;  // the caller's, with the arena above
  Partition partition_;
  StageLinks links_;
  kernels::WeightScheme scheme_;
  CachedAttention attention_;
  BlockShape shape_;

  Embedding token_embedding_;  // first stage
  Embedding position_embedding_;
  Projection project_in_;
  std::optional<Norm> embedding_norm_;
  std::vector<Block> blocks_;
  Head head_;  // last stage
  KvStorage cache_;
};

/// What a checkpoint is loaded as when nobody says: int8 or int4 when its matrices are stored so
/// (docs/formats/quantised.md), else by the type of its token embedding.
kernels::WeightScheme default_scheme(const io::Weights& weights,
                                     const io::WeightView& token_embedding);

}  // namespace gamelan::infer
