#include "train/models/causal_lm.h"

#include <ATen/ATen.h>

#include <limits>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "kernels/alibi.h"

namespace gamelan::train {
namespace {

using torch::nn::Embedding;
using torch::nn::EmbeddingOptions;
using torch::nn::LayerNorm;
using torch::nn::LayerNormOptions;
using torch::nn::Module;

// As in the other models: parameters come from a checkpoint or an initialisation of our own.
Embedding make_embedding(std::int64_t count, std::int64_t width) {
  return Embedding(EmbeddingOptions(count, width)._weight(at::empty({count, width})));
}

LayerNorm make_norm(const io::ModelConfig& config) {
  return LayerNorm(LayerNormOptions({config.hidden_size}).eps(config.norm_eps));
}

bool is_bloom(const io::ModelConfig& config) {
  return config.architecture == io::Architecture::kBloom;
}

void check_config(const io::ModelConfig& config) {
  TORCH_CHECK_VALUE(is_bloom(config) || config.architecture == io::Architecture::kGpt2,
                    "language models that can be trained: expected bloom or gpt2, got ",
                    std::string(io::model_type_of(config.architecture)));
  TORCH_CHECK_VALUE(config.num_heads > 0 && config.hidden_size % config.num_heads == 0,
                    "expected a hidden size that the heads divide, got ", config.hidden_size,
                    " and ", config.num_heads, " heads");
  TORCH_CHECK_VALUE(config.num_layers > 0, "expected at least one layer, got ", config.num_layers);
  TORCH_CHECK_VALUE(config.tied_embeddings,
                    "expected an output head that is tied to the embeddings; a separate one is not "
                    "trained here");
}

}  // namespace

ProjectionImpl::ProjectionImpl(std::int64_t in, std::int64_t out, Layout layout) : layout_(layout) {
  weight_ = register_parameter(
      "weight", layout == Layout::kInOut ? at::empty({in, out}) : at::empty({out, in}));
  bias_ = register_parameter("bias", at::empty({out}));
}

at::Tensor ProjectionImpl::forward(const at::Tensor& x) {
  return layout_ == Layout::kInOut ? at::addmm(bias_, x, weight_) : at::linear(x, weight_, bias_);
}

LmBlockImpl::LmBlockImpl(const io::ModelConfig& config, double dropout)
    : bloom_(is_bloom(config)),
      heads_(config.num_heads),
      residual_after_norm_(config.residual_after_norm),
      dropout_(dropout),
      attention_norm_(make_norm(config)),
      mlp_norm_(make_norm(config)) {
  const auto layout = bloom_ ? ProjectionImpl::Layout::kOutIn : ProjectionImpl::Layout::kInOut;
  const std::int64_t hidden = config.hidden_size;
  qkv_ = Projection(hidden, 3 * hidden, layout);
  attention_output_ = Projection(hidden, hidden, layout);
  up_ = Projection(hidden, config.intermediate_size, layout);
  down_ = Projection(config.intermediate_size, hidden, layout);
  bloom_ ? register_bloom() : register_gpt2();
}

void LmBlockImpl::register_bloom() {
  register_module("input_layernorm", attention_norm_);
  const auto attention = register_module("self_attention", std::make_shared<Module>());
  attention->register_module("query_key_value", qkv_);
  attention->register_module("dense", attention_output_);
  register_module("post_attention_layernorm", mlp_norm_);
  const auto mlp = register_module("mlp", std::make_shared<Module>());
  mlp->register_module("dense_h_to_4h", up_);
  mlp->register_module("dense_4h_to_h", down_);
}

void LmBlockImpl::register_gpt2() {
  register_module("ln_1", attention_norm_);
  const auto attention = register_module("attn", std::make_shared<Module>());
  attention->register_module("c_attn", qkv_);
  attention->register_module("c_proj", attention_output_);
  register_module("ln_2", mlp_norm_);
  const auto mlp = register_module("mlp", std::make_shared<Module>());
  mlp->register_module("c_fc", up_);
  mlp->register_module("c_proj", down_);
}

at::Tensor LmBlockImpl::attend(const at::Tensor& x, const LmPass& pass) {
  const std::int64_t head_dim = x.size(1) / heads_;
  const at::Tensor joined = qkv_(x);
  // BLOOM interleaves q, k and v head by head; GPT-2 has all of q first.
  const at::Tensor parts =
      bloom_ ? joined.view({pass.batch, pass.length, heads_, 3, head_dim}).permute({3, 0, 2, 1, 4})
             : joined.view({pass.batch, pass.length, 3, heads_, head_dim}).permute({2, 0, 3, 1, 4});
  std::optional<at::Tensor> bias;
  if (pass.attention_bias.defined()) {
    bias = pass.attention_bias.to(joined.scalar_type());
  }
  const at::Tensor mixed = at::scaled_dot_product_attention(
      parts[0], parts[1], parts[2], bias, is_training() ? dropout_ : 0.0, /*is_causal=*/!bias);
  return attention_output_(mixed.transpose(1, 2).reshape({x.size(0), x.size(1)}));
}

at::Tensor LmBlockImpl::forward(const at::Tensor& x, const LmPass& pass) {
  const at::Tensor normed = attention_norm_(x);
  const at::Tensor attended = at::dropout(attend(normed, pass), dropout_, is_training()) +
                              (residual_after_norm_ ? normed : x);
  const at::Tensor middle = mlp_norm_(attended);
  const at::Tensor out = down_(at::gelu(up_(middle), "tanh"));
  return at::dropout(out, dropout_, is_training()) + (residual_after_norm_ ? middle : attended);
}

CausalLMImpl::CausalLMImpl(const io::ModelConfig& config, double dropout)
    : config_(config), dropout_(dropout) {
  check_config(config);
  const auto transformer = register_module("transformer", std::make_shared<Module>());
  word_embeddings_ = make_embedding(config.vocab_size, config.hidden_size);
  final_norm_ = make_norm(config);
  if (is_bloom(config)) {
    transformer->register_module("word_embeddings", word_embeddings_);
    embedding_norm_ = transformer->register_module("word_embeddings_layernorm", make_norm(config));
    slopes_ = at::tensor(kernels::alibi_slopes(config.num_heads));
  } else {
    transformer->register_module("wte", word_embeddings_);
    position_embeddings_ = transformer->register_module(
        "wpe", make_embedding(config.max_positions, config.hidden_size));
  }
  blocks_ = torch::nn::ModuleList();
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    blocks_->push_back(LmBlock(config, dropout));
  }
  transformer->register_module("h", blocks_);
  transformer->register_module("ln_f", final_norm_);
}

at::Tensor CausalLMImpl::attention_bias(std::int64_t length, at::ScalarType type) const {
  if (!slopes_.defined()) {
    return {};
  }
  const at::Tensor positions = at::arange(length, at::kFloat);
  const at::Tensor distance = positions.unsqueeze(0) - positions.unsqueeze(1);  // j - i
  const at::Tensor later = distance > 0;
  return (slopes_.view({-1, 1, 1}) * distance)
      .masked_fill(later, -std::numeric_limits<float>::infinity())
      .unsqueeze(0)
      .to(type);
}

at::Tensor CausalLMImpl::embed(const at::Tensor& ids) {
  const std::int64_t length = ids.size(1);
  at::Tensor x = word_embeddings_(ids.reshape({-1}));
  if (!position_embeddings_.is_empty()) {
    TORCH_CHECK_VALUE(length <= config_.max_positions, "expected at most ", config_.max_positions,
                      " tokens a sequence (the position embeddings), got ", length);
    const at::Tensor positions = at::arange(length, at::kLong).repeat({ids.size(0)});
    x = x + position_embeddings_(positions);
  }
  x = at::dropout(x, dropout_, is_training());
  return embedding_norm_.is_empty() ? x : embedding_norm_(x);
}

at::Tensor CausalLMImpl::hidden(const at::Tensor& ids) {
  TORCH_CHECK_VALUE(ids.dim() == 2 && ids.size(0) > 0 && ids.size(1) > 0,
                    "expected token ids [batch, length], got ", ids.sizes());
  at::Tensor x = embed(ids);
  const LmPass pass = {ids.size(0), ids.size(1), attention_bias(ids.size(1), x.scalar_type())};
  for (std::size_t i = 0; i < blocks_->size(); ++i) {
    x = blocks_->at<LmBlockImpl>(i).forward(x, pass);
  }
  return final_norm_(x);
}

at::Tensor CausalLMImpl::head(const at::Tensor& x) {
  return at::linear(x, word_embeddings_->weight);
}

at::Tensor CausalLMImpl::logits(const at::Tensor& ids) {
  return head(hidden(ids)).to(at::kFloat).view({ids.size(0), ids.size(1), config_.vocab_size});
}

at::Tensor CausalLMImpl::token_losses(const at::Tensor& ids) {
  TORCH_CHECK_VALUE(ids.dim() == 2 && ids.size(1) >= 2,
                    "expected token ids [batch, length] with at least 2 tokens, got ", ids.sizes());
  const std::int64_t length = ids.size(1);
  // The last position predicts nothing: it does not reach the head.
  const at::Tensor x = hidden(ids)
                           .view({ids.size(0), length, config_.hidden_size})
                           .narrow(1, 0, length - 1)
                           .reshape({-1, config_.hidden_size});
  const at::Tensor targets = ids.narrow(1, 1, length - 1).reshape({-1});
  return at::cross_entropy_loss(head(x).to(at::kFloat), targets, {}, at::Reduction::None)
      .view({ids.size(0), length - 1});
}

LmOutput CausalLMImpl::forward(const at::Tensor& ids) {
  return {token_losses(ids).mean()};
}

}  // namespace gamelan::train
