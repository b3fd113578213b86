#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "infer/model/causal_model.h"
#include "infer/model/load_model.h"
#include "infer/model/model_part.h"

namespace gamelan::infer {

/// A model that several ranks run together. Rank 0 uses it like any other: each call first tells
/// the other ranks, which do nothing but serve_steps(). Everything that fails on one rank fails on
/// all.
class ParallelModel final : public CausalModel {
 public:
  /// Collective: every rank makes it of its part.
  ParallelModel(std::unique_ptr<ModelPart> part, const ParallelOptions& parallel);
  /// Rank 0 sends the others home.
  ~ParallelModel() override;
  ParallelModel(const ParallelModel&) = delete;
  ParallelModel& operator=(const ParallelModel&) = delete;

  const io::ModelConfig& config() const override { return part_->config(); }
  tensor::DType natural_cache_dtype() const override { return part_->natural_cache_dtype(); }
  /// Of the rank with the most layers: there are as many blocks on all.
  std::size_t cache_block_bytes(const CacheOptions& options) const override;
  /// REQUIRES: rank 0, as for forward(). Fails when one of the ranks has no memory.
  base::Status create_cache(const CacheOptions& options, std::int64_t blocks) override;
  base::Status forward(const StepPlan& plan, tensor::MatrixView<float> logits) override;
  /// This rank's.
  std::size_t weight_bytes() const override { return part_->weight_bytes(); }
  kernels::WeightScheme scheme() const override { return part_->scheme(); }
  std::string description() const override { return part_->description(); }

  bool leads() const;
  /// Ranks other than 0: does what rank 0 says until it has gone (OK) or something fails.
  base::Status serve_steps();

 private:
  struct Command;
  base::Status lead(const Command& command, std::span<const std::byte> payload);
  base::Status follow(Command& command);
  base::Status create_part(const CacheOptions& options, std::int64_t blocks);

  std::unique_ptr<ModelPart> part_;
  dist::ProcessGroup* group_;
  std::int64_t layers_ = 1;  // of this rank
  std::int64_t most_layers_ = 1;
  std::vector<std::byte> message_;
  std::vector<std::byte> payload_;
  StepPlan plan_;
  base::Status failure_;
};

/// Loads this rank's part of a model. Collective: a failure on one rank is one on all. REQUIRES:
/// options.parallel.group.
base::StatusOr<std::unique_ptr<ParallelModel>> load_parallel_model(std::string_view path,
                                                                   const kernels::Context& context,
                                                                   const LoadOptions& options);

}  // namespace gamelan::infer
