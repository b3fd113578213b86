#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <cstdint>

#include "io/model_config.h"

namespace gamelan::train {

// Causal language models of the shapes of GPT-2 (Radford et al., 2019) and BLOOM (Le Scao et al.,
// 2022, https://arxiv.org/abs/2211.05100), in LibTorch's own operations. Modules and parameters
// have HuggingFace's names, so that a checkpoint maps one to one.

/// y = x W + b. HuggingFace keeps GPT-2's matrices as [in, out] and BLOOM's as [out, in].
class ProjectionImpl : public torch::nn::Module {
 public:
  enum class Layout { kOutIn, kInOut };
  ProjectionImpl(std::int64_t in, std::int64_t out, Layout layout);
  /// [rows, in] to [rows, out]
  at::Tensor forward(const at::Tensor& x);

 private:
  const Layout layout_;
  at::Tensor weight_;
  at::Tensor bias_;
};
TORCH_MODULE(Projection);

/// What is the same for every block of one forward pass.
struct LmPass {
  std::int64_t batch = 0;
  std::int64_t length = 0;
  /// BLOOM: [1, heads, length, length], slope * (j - i) where j <= i and -inf elsewhere. Undefined
  /// for GPT-2, whose attention is causal without a bias.
  at::Tensor attention_bias;
};

/// x + attention(norm(x)), then x + mlp(norm(x)).
class LmBlockImpl : public torch::nn::Module {
 public:
  LmBlockImpl(const io::ModelConfig& config, double dropout);
  /// [batch * length, hidden] to the same.
  at::Tensor forward(const at::Tensor& x, const LmPass& pass);

 private:
  at::Tensor attend(const at::Tensor& x, const LmPass& pass);
  void register_bloom();
  void register_gpt2();

  const bool bloom_;
  const std::int64_t heads_;
  const bool residual_after_norm_;
  const double dropout_;
  torch::nn::LayerNorm attention_norm_{nullptr};
  Projection qkv_{nullptr};
  Projection attention_output_{nullptr};
  torch::nn::LayerNorm mlp_norm_{nullptr};
  Projection up_{nullptr};
  Projection down_{nullptr};
};
TORCH_MODULE(LmBlock);

struct LmOutput {
  /// Scalar f32: the mean cross-entropy of the tokens but the first of each sequence.
  at::Tensor loss;
};

/// For DistributedDataParallel: backward begins at the loss.
template <class Visitor>
void visit_tensors(const LmOutput& output, Visitor&& visit) {
  visit(output.loss);
}

/// BloomForCausalLM or GPT2LMHeadModel, with the output head tied to the embeddings.
///
///   CausalLM model(config, 0.0);
///   initialize_causal_lm(*model, seed);                     // train/models/causal_lm_weights.h
///   model->forward(ids).loss.backward();
///
/// Not thread-safe. Parameters are uninitialised until they are loaded or initialised.
class CausalLMImpl : public torch::nn::Module {
 public:
  /// `dropout`: of embeddings, attention and residuals. Throws c10::ValueError for an architecture
  /// other than these two and for shapes that cannot be.
  CausalLMImpl(const io::ModelConfig& config, double dropout);

  /// ids: i64 [batch, length], length at least 2. Throws c10::ValueError for more positions than
  /// the model has.
  LmOutput forward(const at::Tensor& ids);
  /// The logits, [batch, length, vocabulary].
  at::Tensor logits(const at::Tensor& ids);
  /// The cross-entropy of each token but the first, f32 [batch, length - 1].
  at::Tensor token_losses(const at::Tensor& ids);

  const io::ModelConfig& config() const { return config_; }

 private:
  /// [batch * length, hidden]: the output of the final norm.
  at::Tensor hidden(const at::Tensor& ids);
  at::Tensor embed(const at::Tensor& ids);
  at::Tensor attention_bias(std::int64_t length, at::ScalarType type) const;
  /// [rows, vocabulary]
  at::Tensor head(const at::Tensor& x);

  const io::ModelConfig config_;
  const double dropout_;
  at::Tensor slopes_;  // [heads], BLOOM
  torch::nn::Embedding word_embeddings_{nullptr};
  torch::nn::Embedding position_embeddings_{nullptr};  // GPT-2
  torch::nn::LayerNorm embedding_norm_{nullptr};       // BLOOM
  torch::nn::ModuleList blocks_{nullptr};
  torch::nn::LayerNorm final_norm_{nullptr};
};
TORCH_MODULE(CausalLM);

}  // namespace gamelan::train
