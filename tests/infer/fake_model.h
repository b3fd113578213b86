#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "infer/engine/engine.h"
#include "infer/model/causal_model.h"

namespace gamelan::infer::testing {

struct FakeModelOptions {
  std::int64_t vocab_size = 31;
  std::int64_t max_positions = 0;
  /// How many of the last tokens decide about the next one; 0 = all. All are looked at
  /// nevertheless.
  std::int64_t memory = 0;
  /// Logits are random numbers in -scale … scale.
  float scale = 3.0F;
  std::uint64_t seed = 1;
};

/// A model whose logits are a hash of the text so far, which it knows only from its cache: a slot
/// holds the token that was written there. A wrong block table, a missing copy or a block that was
/// given away too early gives other tokens, or an error when a slot was never written.
class FakeModel final : public CausalModel {
 public:
  explicit FakeModel(const FakeModelOptions& options = {});

  const io::ModelConfig& config() const override { return config_; }
  std::size_t cache_block_bytes(const CacheOptions& options) const override {
    return static_cast<std::size_t>(options.block_tokens);  // a byte a token
  }
  base::Status create_cache(const CacheOptions& options, std::int64_t blocks) override;
  base::Status forward(const StepPlan& plan, tensor::MatrixView<float> logits) override;
  std::size_t weight_bytes() const override { return 0; }
  kernels::WeightScheme scheme() const override { return kernels::WeightScheme::kF32; }
  std::string description() const override { return "fake"; }

  /// The logits that follow `tokens`.
  std::vector<float> logits_after(std::span<const text::TokenId> tokens) const;

  /// Of all steps so far.
  std::int64_t computed_tokens = 0;
  std::int64_t steps = 0;
  /// The next steps give logits that are no numbers.
  bool broken = false;
  /// The largest of all steps so far.
  std::int64_t most_tokens = 0;
  std::int64_t most_sequences = 0;

  io::ModelConfig config_;

 private:
  base::Status run(const StepPlan& plan, const StepSequence& sequence, std::int64_t first_token,
                   float* logits);

  FakeModelOptions options_;
  std::int64_t block_tokens_ = 0;
  std::vector<text::TokenId> slots_;
};

/// Runs `requests`, all submitted before the first step, until the engine is idle; the tokens of
/// their texts: [request][text]. Fails the test when a request does not end in one of the ordinary
/// ways.
std::vector<std::vector<std::vector<text::TokenId>>> run_all(Engine& engine,
                                                             const std::vector<Request>& requests);

/// The tokens that `model` continues `prompt` with at temperature 0, without any engine.
std::vector<text::TokenId> greedy_by_hand(const FakeModel& model, std::vector<text::TokenId> prompt,
                                          int count);

/// `length` tokens that differ for each `seed`.
std::vector<text::TokenId> some_tokens(std::int64_t length, std::uint64_t seed,
                                       std::int64_t vocab_size = 31);

}  // namespace gamelan::infer::testing
