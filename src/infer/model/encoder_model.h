#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "infer/model/load_model.h"
#include "io/model_config.h"
#include "tensor/matrix_view.h"
#include "text/tokenizer.h"

namespace gamelan::infer {

/// Sequences without padding: sequence s has the tokens offsets[s] … offsets[s + 1] - 1.
struct PackedTokens {
  std::span<const text::TokenId> tokens;
  /// As long as `tokens`, or empty: all 0.
  std::span<const text::TokenId> types;
  /// One more than there are sequences, the first 0.
  std::span<const std::int64_t> offsets;
};

enum class Pooling { kMean, kCls };

/// BERT: reads whole sequences, gives a vector for each token, or for each sequence. One thread at
/// a time.
class EncoderModel {
 public:
  virtual ~EncoderModel() = default;
  virtual const io::ModelConfig& config() const = 0;
  /// hidden [tokens, hidden_size]: the output of the last block.
  virtual base::Status encode(const PackedTokens& batch, tensor::MatrixView<float> hidden) = 0;
  /// embeddings [sequences, hidden_size], normalised to length 1 when asked.
  virtual base::Status embed(const PackedTokens& batch, Pooling pooling, bool normalize,
                             tensor::MatrixView<float> embeddings) = 0;
  /// logits [sequences, num_labels]; kFailedPrecondition when the folder has no classifier.
  virtual base::Status classify(const PackedTokens& batch, tensor::MatrixView<float> logits) = 0;
};

/// `context` must outlive the model. Takes schemes of LoadOptions, no parallel ranks.
base::StatusOr<std::unique_ptr<EncoderModel>> load_encoder_model(std::string_view path,
                                                                 const kernels::Context& context,
                                                                 const LoadOptions& options);

}  // namespace gamelan::infer
