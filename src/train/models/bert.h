#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <cstdint>

#include "io/bert_config.h"
#include "train/data/text_batch.h"

namespace gamelan::train {

// BERT (Devlin et al., 2019, https://arxiv.org/abs/1810.04805) for the classification of texts.
// Modules and parameters have HuggingFace's names, so that a checkpoint maps one to one.
//
// Rows stay packed all the way: [rows, hidden], where row is one token of one sequence. Only
// attention pads, to the longest slot of the batch. Of the last layer only the rows that the pooler
// reads, the first of each sequence, are computed behind the attention; the result is the same.

/// The nonlinearity between the two halves of a layer's feed-forward part.
enum class Activation : std::uint8_t { kGelu, kGeluTanh, kRelu, kSilu };

/// From a config's `hidden_act`; throws c10::ValueError for an unknown name.
Activation activation_from_name(const std::string& name);

/// What is the same for every layer of one forward pass.
struct BertPass {
  const PackedLayout& layout;
  /// [size, 1, 1, longest slot] added to attention scores; undefined = no padding.
  at::Tensor mask;
  /// i64 [size]: the first row of each sequence.
  at::Tensor first_rows;
};

class BertEmbeddingsImpl : public torch::nn::Module {
 public:
  explicit BertEmbeddingsImpl(const io::BertConfig& config);
  /// [rows, hidden]
  at::Tensor forward(const TextBatch& batch);

  torch::nn::Embedding word_embeddings{nullptr};
  torch::nn::Embedding position_embeddings{nullptr};
  torch::nn::Embedding token_type_embeddings{nullptr};
  torch::nn::LayerNorm layer_norm{nullptr};

 private:
  const double dropout_;
};
TORCH_MODULE(BertEmbeddings);

/// softmax(q k' / sqrt(head size) + mask) v over the heads.
class BertSelfAttentionImpl : public torch::nn::Module {
 public:
  explicit BertSelfAttentionImpl(const io::BertConfig& config);
  /// `x` [rows, hidden] to [rows, hidden], or, when `first_only`, to [size, hidden]: the first row
  /// of each sequence attends to the whole of it.
  at::Tensor forward(const at::Tensor& x, const BertPass& pass, bool first_only);

  torch::nn::Linear query{nullptr};
  torch::nn::Linear key{nullptr};
  torch::nn::Linear value{nullptr};

 private:
  const std::int64_t heads_;
  const double dropout_;
};
TORCH_MODULE(BertSelfAttention);

/// layer_norm(dropout(dense(x)) + residual): the end of both halves of a layer.
class BertOutputImpl : public torch::nn::Module {
 public:
  BertOutputImpl(const io::BertConfig& config, std::int64_t in_features);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& residual);

  torch::nn::Linear dense{nullptr};
  torch::nn::LayerNorm layer_norm{nullptr};

 private:
  const double dropout_;
};
TORCH_MODULE(BertOutput);

class BertLayerImpl : public torch::nn::Module {
 public:
  explicit BertLayerImpl(const io::BertConfig& config);
  /// [rows, hidden] to [rows, hidden], or to [size, hidden] when `first_only`.
  at::Tensor forward(const at::Tensor& x, const BertPass& pass, bool first_only);

 private:
  const Activation activation_;
  BertSelfAttention attention_{nullptr};
  BertOutput attention_output_{nullptr};
  torch::nn::Linear intermediate_{nullptr};
  BertOutput output_{nullptr};
};
TORCH_MODULE(BertLayer);

/// Embeddings, layers and pooler.
class BertModelImpl : public torch::nn::Module {
 public:
  /// Throws c10::ValueError for a shape that cannot be, such as a hidden size that the heads do not
  /// divide.
  explicit BertModelImpl(const io::BertConfig& config);
  /// The pooled representation, [size, hidden]: tanh of a dense layer over each first token. Throws
  /// c10::ValueError when a slot is longer than the position embeddings.
  at::Tensor forward(const TextBatch& batch);

 private:
  const std::int64_t max_positions_;
  BertEmbeddings embeddings_{nullptr};
  torch::nn::ModuleList layers_{nullptr};
  torch::nn::Linear pooler_{nullptr};
};
TORCH_MODULE(BertModel);

struct ClassifierOutput {
  /// Scalar, the mean cross-entropy of the batch; undefined when the batch has no labels.
  at::Tensor loss;
  /// f32 [size, labels].
  at::Tensor logits;
};

/// For DistributedDataParallel: backward begins at the loss.
template <class Visitor>
void visit_tensors(const ClassifierOutput& output, Visitor&& visit) {
  if (output.loss.defined()) {
    visit(output.loss);
  }
  visit(output.logits);
}

/// BertForSequenceClassification: pooler, dropout, one dense layer to the classes.
///
///   BertForSequenceClassification model(config);
///   load_bert_weights(*model, weights, seed);               // train/models/bert_weights.h
///   ClassifierOutput out = model->forward(batch);
///   out.loss.backward();
///
/// Not thread-safe, like every LibTorch module. Parameters are uninitialised until they are loaded
/// or initialize_bert() is called.
class BertForSequenceClassificationImpl : public torch::nn::Module {
 public:
  explicit BertForSequenceClassificationImpl(const io::BertConfig& config);
  /// Throws c10::IndexError or c10::ValueError for labels and tokens out of range.
  ClassifierOutput forward(const TextBatch& batch);

  const io::BertConfig& config() const { return config_; }

 private:
  const io::BertConfig config_;
  BertModel bert_{nullptr};
  torch::nn::Linear classifier_{nullptr};
};
TORCH_MODULE(BertForSequenceClassification);

}  // namespace gamelan::train
