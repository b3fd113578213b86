#include "train/models/bert.h"

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "train/models/packed_rows.h"

namespace gamelan::train {
namespace {

using torch::nn::Embedding;
using torch::nn::EmbeddingOptions;
using torch::nn::LayerNorm;
using torch::nn::LayerNormOptions;
using torch::nn::Linear;
using torch::nn::Module;

// Parameters come from a checkpoint or from initialize_bert(): LibTorch's own initialisation would
// only cost time.
Embedding make_embedding(std::int64_t count, std::int64_t width) {
  return Embedding(EmbeddingOptions(count, width)._weight(at::empty({count, width})));
}

LayerNorm make_layer_norm(const io::BertConfig& config) {
  return LayerNorm(LayerNormOptions({config.hidden_size}).eps(config.layer_norm_eps));
}

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kRelu:
      break;
  }
  return at::relu(x);
}

// [size, length, hidden] to [size, heads, length, head size]
at::Tensor split_heads(const at::Tensor& x, std::int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

}  // namespace

Activation activation_from_name(const std::string& name) {
  if (name == "gelu" || name == "gelu_python") {
    return Activation::kGelu;
  }
  if (name == "gelu_new" || name == "gelu_fast" || name == "gelu_pytorch_tanh") {
    return Activation::kGeluTanh;
  }
  if (name == "silu" || name == "swish") {
    return Activation::kSilu;
  }
  TORCH_CHECK_VALUE(name == "relu",
                    "hidden_act: expected gelu, gelu_new, gelu_pytorch_tanh, relu or silu, got '",
                    name, "'");
  return Activation::kRelu;
}

BertEmbeddingsImpl::BertEmbeddingsImpl(const io::BertConfig& config)
    : dropout_(config.hidden_dropout_prob) {
  word_embeddings =
      register_module("word_embeddings", make_embedding(config.vocab_size, config.hidden_size));
  position_embeddings = register_module(
      "position_embeddings", make_embedding(config.max_position_embeddings, config.hidden_size));
  token_type_embeddings = register_module(
      "token_type_embeddings", make_embedding(config.type_vocab_size, config.hidden_size));
  layer_norm = register_module("LayerNorm", make_layer_norm(config));
}

at::Tensor BertEmbeddingsImpl::forward(const TextBatch& batch) {
  at::Tensor x = word_embeddings(batch.input_ids);
  // Same order of additions as HuggingFace: the sums round alike.
  x = x + (batch.token_type_ids.defined() ? token_type_embeddings(batch.token_type_ids)
                                          : token_type_embeddings->weight.select(0, 0));
  x = x + position_embeddings(position_ids(batch.layout));
  return at::dropout(layer_norm(x), dropout_, is_training());
}

BertSelfAttentionImpl::BertSelfAttentionImpl(const io::BertConfig& config)
    : heads_(config.num_attention_heads), dropout_(config.attention_probs_dropout_prob) {
  query = register_module("query", Linear(config.hidden_size, config.hidden_size));
  key = register_module("key", Linear(config.hidden_size, config.hidden_size));
  value = register_module("value", Linear(config.hidden_size, config.hidden_size));
}

at::Tensor BertSelfAttentionImpl::forward(const at::Tensor& x, const BertPass& pass,
                                          bool first_only) {
  const at::Tensor q = first_only ? query(x.index_select(0, pass.first_rows)).unsqueeze(1)
                                  : pad_rows(query(x), pass.layout);
  const at::Tensor k = pad_rows(key(x), pass.layout);
  const at::Tensor v = pad_rows(value(x), pass.layout);
  std::optional<at::Tensor> mask;
  if (pass.mask.defined()) {
    mask = pass.mask.to(q.scalar_type());
  }
  const at::Tensor mixed = at::scaled_dot_product_attention(
      split_heads(q, heads_), split_heads(k, heads_), split_heads(v, heads_), mask,
      is_training() ? dropout_ : 0.0);
  const at::Tensor joined = mixed.transpose(1, 2).reshape({q.size(0), q.size(1), q.size(2)});
  return first_only ? joined.squeeze(1) : unpad_rows(joined, pass.layout);
}

BertOutputImpl::BertOutputImpl(const io::BertConfig& config, std::int64_t in_features)
    : dropout_(config.hidden_dropout_prob) {
  dense = register_module("dense", Linear(in_features, config.hidden_size));
  layer_norm = register_module("LayerNorm", make_layer_norm(config));
}

at::Tensor BertOutputImpl::forward(const at::Tensor& x, const at::Tensor& residual) {
  return layer_norm(at::dropout(dense(x), dropout_, is_training()) + residual);
}

BertLayerImpl::BertLayerImpl(const io::BertConfig& config)
    : activation_(activation_from_name(config.hidden_act)),
      attention_(config),
      attention_output_(config, config.hidden_size),
      intermediate_(config.hidden_size, config.intermediate_size),
      output_(config, config.intermediate_size) {
  // HuggingFace's tree: attention.self, attention.output, intermediate.dense, output.
  const auto attention = register_module("attention", std::make_shared<Module>());
  attention->register_module("self", attention_);
  attention->register_module("output", attention_output_);
  register_module("intermediate", std::make_shared<Module>())
      ->register_module("dense", intermediate_);
  register_module("output", output_);
}

at::Tensor BertLayerImpl::forward(const at::Tensor& x, const BertPass& pass, bool first_only) {
  const at::Tensor residual = first_only ? x.index_select(0, pass.first_rows) : x;
  const at::Tensor attended = attention_output_(attention_(x, pass, first_only), residual);
  return output_(activate(intermediate_(attended), activation_), attended);
}

BertModelImpl::BertModelImpl(const io::BertConfig& config)
    : max_positions_(config.max_position_embeddings) {
  TORCH_CHECK_VALUE(
      config.num_attention_heads > 0 && config.hidden_size % config.num_attention_heads == 0,
      "BERT: expected a hidden size that the heads divide, got hidden_size ", config.hidden_size,
      " and num_attention_heads ", config.num_attention_heads);
  TORCH_CHECK_VALUE(config.num_hidden_layers > 0, "BERT: expected at least one layer, got ",
                    config.num_hidden_layers);
  embeddings_ = register_module("embeddings", BertEmbeddings(config));
  layers_ = torch::nn::ModuleList();
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers_->push_back(BertLayer(config));
  }
  register_module("encoder", std::make_shared<Module>())->register_module("layer", layers_);
  pooler_ = Linear(config.hidden_size, config.hidden_size);
  register_module("pooler", std::make_shared<Module>())->register_module("dense", pooler_);
}

at::Tensor BertModelImpl::forward(const TextBatch& batch) {
  const PackedLayout& layout = batch.layout;
  TORCH_CHECK_VALUE(layout.size() > 0, "BERT: expected at least one sequence, got none");
  TORCH_CHECK_VALUE(layout.longest_slot() <= max_positions_, "BERT: expected at most ",
                    max_positions_, " tokens a sequence (max_position_embeddings), got ",
                    layout.longest_slot());
  at::Tensor x = embeddings_(batch);
  const BertPass pass = {layout, attention_mask(layout, x.scalar_type()), first_rows(layout)};
  for (std::size_t i = 0; i < layers_->size(); ++i) {
    x = layers_->at<BertLayerImpl>(i).forward(x, pass, i + 1 == layers_->size());
  }
  return at::tanh(pooler_(x));
}

BertForSequenceClassificationImpl::BertForSequenceClassificationImpl(const io::BertConfig& config)
    : config_(config) {
  bert_ = register_module("bert", BertModel(config));
  classifier_ = register_module("classifier", Linear(config.hidden_size, config.num_labels));
}

ClassifierOutput BertForSequenceClassificationImpl::forward(const TextBatch& batch) {
  const double dropout = config_.classifier_dropout.value_or(config_.hidden_dropout_prob);
  const at::Tensor pooled = at::dropout(bert_(batch), dropout, is_training());
  ClassifierOutput output;
  output.logits = classifier_(pooled).to(at::kFloat);
  if (batch.labels.defined()) {
    output.loss = at::cross_entropy_loss(output.logits, batch.labels);
  }
  return output;
}

}  // namespace gamelan::train
