#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "infer/model/step_plan.h"
#include "io/model_config.h"
#include "kernels/weight_scheme.h"
#include "tensor/dtype.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// What the cache of keys and values of a model is made of, and the steps that will use it.
struct CacheOptions {
  tensor::DType dtype = tensor::DType::kBF16;  // kF32, kBF16, kF16, kI8
  std::int64_t block_tokens = 16;
  /// The most tokens and rows of logits of a step: create_cache() then takes the memory for its
  /// activations too. 0 = not known, and for what goes beyond: it is taken in the first steps. An
  /// engine says its own.
  std::int64_t step_tokens = 0;
  std::int64_t step_logits = 0;
};

/// A model that continues sequences, with its cache of keys and values. The engine sees no more of
/// it than this: a CPU, a GPU or several ranks stand behind (docs/inference.md). One thread at a
/// time.
class CausalModel {
 public:
  virtual ~CausalModel() = default;

  virtual const io::ModelConfig& config() const = 0;

  /// Bytes of one block of the cache over all layers of this rank.
  virtual std::size_t cache_block_bytes(const CacheOptions& options) const = 0;
  /// The type of cache that loses nothing against the weights: what a user gets who names none.
  virtual tensor::DType natural_cache_dtype() const { return tensor::DType::kBF16; }
  /// Makes the cache; what an earlier one held is gone. kResourceExhausted when there is no memory.
  virtual base::Status create_cache(const CacheOptions& options, std::int64_t blocks) = 0;

  /// Runs the tokens of `plan`: copies blocks, writes keys and values into the cache, and gives the
  /// logits of the last `logits` tokens of every sequence, in order, into `logits`
  /// [plan.logit_rows(), vocab_size]. On ranks other than 0 `logits` may be left untouched.
  /// REQUIRES: a cache; a plan that fits it (the engine's business). Errors are those of parallel
  /// peers, after which the model cannot be used again.
  virtual base::Status forward(const StepPlan& plan, tensor::MatrixView<float> logits) = 0;

  /// Bytes of the weights that a step reads, embeddings that are only looked up apart.
  virtual std::size_t weight_bytes() const = 0;
  /// What the products of a step are computed in.
  virtual kernels::WeightScheme scheme() const = 0;
  /// "bf16 on the CPU, 2 threads", for reports.
  virtual std::string description() const = 0;
};

}  // namespace gamelan::infer
