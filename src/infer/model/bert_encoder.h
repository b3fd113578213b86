#pragma once

#include <memory>
#include <span>
#include <vector>

#include "device/arena.h"
#include "infer/layers/block.h"
#include "infer/layers/embedding.h"
#include "infer/model/encoder_model.h"
#include "io/model_files.h"

namespace gamelan::infer {

/// BERT on the CPU: folders of a bare encoder and those of a sequence classifier.
class BertEncoder final : public EncoderModel {
 public:
  static base::StatusOr<std::unique_ptr<BertEncoder>> load(io::ModelFiles files,
                                                           const kernels::Context& context,
                                                           const LoadOptions& options);

  const io::ModelConfig& config() const override { return files_.config; }
  base::Status encode(const PackedTokens& batch, tensor::MatrixView<float> hidden) override;
  base::Status embed(const PackedTokens& batch, Pooling pooling, bool normalize,
                     tensor::MatrixView<float> embeddings) override;
  base::Status classify(const PackedTokens& batch, tensor::MatrixView<float> logits) override;

 private:
  BertEncoder(io::ModelFiles files, const kernels::Context& context);

  base::Status load_layers(const LoadOptions& options);
  base::Status check(const PackedTokens& batch) const;
  /// The output of the last block: a row a token, or only the first row of each sequence.
  base::StatusOr<tensor::MatrixView<float>> run(const PackedTokens& batch, bool first_rows_only);
  void look_up(const PackedTokens& batch, tensor::MatrixView<float> x);

  io::ModelFiles files_;
  device::Arena arena_;
  kernels::Context context_;  // the caller's, with the arena above
  BlockShape shape_;
  Embedding tokens_;
  Embedding positions_;
  Embedding types_;
  Norm embedding_norm_;
  std::vector<Block> blocks_;
  Projection pooler_;      // empty in folders that have no classifier
  Projection classifier_;  // likewise
};

}  // namespace gamelan::infer
