#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/rope_config.h"
#include "tensor/dtype.h"

namespace gamelan::io {

enum class Architecture { kBloom, kGpt2, kGptNeoX, kOpt, kLlama, kMistral, kQwen2, kBert };

enum class NormKind {
  kLayerNorm,  // (x - mean) / sqrt(variance + eps) * weight + bias
  kRmsNorm,    // x / sqrt(mean(x^2) + eps) * weight
};

enum class Activation {
  kGelu,      // x * Phi(x), by erf
  kGeluTanh,  // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  kRelu,
  kSilu,  // x * sigmoid(x)
};

enum class Positions {
  kAlibi,    // a slope for each head times the distance, added to the scores
  kLearned,  // a table, added to the embeddings
  kRope,     // rotation of queries and keys
};

/// What a model is: the fields of a HuggingFace config.json that its computation needs, under one
/// name each whatever the architecture calls them, with transformers' defaults
/// (docs/formats/model_config.md).
struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  /// "LlamaForCausalLM": the first of "architectures"; empty when the file has none.
  std::string class_name;
  /// The type that the weights were saved in; unset when the file does not say.
  std::optional<tensor::DType> dtype;

  // Sizes.
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  /// Heads of keys and values; divides num_heads.
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t intermediate_size = 0;
  /// Width of the embedding tables when it is not hidden_size: OPT then projects in and out.
  std::int64_t embedding_size = 0;
  /// The longest sequence; 0 = no limit of the model's own (ALiBi).
  std::int64_t max_positions = 0;

  // The parts of a block.
  NormKind norm = NormKind::kLayerNorm;
  double norm_eps = 1e-5;
  /// Whether norms have weight and bias (OPT: layer_norm_elementwise_affine).
  bool norm_affine = true;
  /// The norm stands before attention and MLP, not after their residual sums.
  bool norm_before = true;
  /// The residual is the output of the norm, not its input (BLOOM:
  /// apply_residual_connection_post_layernorm).
  bool residual_after_norm = false;
  /// Attention and MLP both read the block's input: x + attention(norm1(x)) + mlp(norm2(x)).
  bool parallel_residual = false;
  /// A norm follows the embeddings (BLOOM, BERT).
  bool embedding_norm = false;
  /// A norm follows the last block.
  bool final_norm = true;
  Activation activation = Activation::kGelu;
  /// activation(gate(x)) * up(x) in the MLP, where others have activation(up(x)).
  bool gated_mlp = false;
  /// Biases of the projections to queries, keys and values.
  bool qkv_bias = true;
  /// Bias of the projection after attention.
  bool attention_output_bias = true;
  bool mlp_bias = true;
  /// Scores are multiplied by 1/sqrt(head_dim) (GPT-2: scale_attn_weights).
  bool scale_scores = true;
  /// Scores of layer i are divided by i + 1 as well (GPT-2: scale_attn_by_inverse_layer_idx).
  bool scale_scores_by_layer = false;
  bool causal = true;

  // Positions.
  Positions positions = Positions::kLearned;
  /// Position p reads row p + position_offset of the table (OPT: 2).
  std::int64_t position_offset = 0;
  RopeConfig rope;
  /// A query sees this many keys, itself included; 0 = all.
  std::int64_t sliding_window = 0;
  /// Layers that the window applies to; empty = all.
  std::vector<bool> windowed_layers;

  // Head and special tokens.
  /// The output head is the embedding table.
  bool tied_embeddings = false;
  std::optional<std::int64_t> bos_token_id;
  /// Each of them ends a text.
  std::vector<std::int64_t> eos_token_ids;
  std::optional<std::int64_t> pad_token_id;

  // BERT.
  std::int64_t type_vocab_size = 0;
  /// Classes of a ...ForSequenceClassification.
  std::int64_t num_labels = 2;
  /// One name a class, or empty: then class i is called "LABEL_i" (label_name).
  std::vector<std::string> labels;

  bool operator==(const ModelConfig&) const = default;
};

/// The window of layer `layer`, 0 = none.
std::int64_t window_of_layer(const ModelConfig& config, std::int64_t layer);
std::string label_name(const ModelConfig& config, std::int64_t index);

/// config.json's model_type: "bloom", "gpt_neox", …
std::string_view model_type_of(Architecture architecture);

/// Parses config.json; `name` stands for the file in messages. An unknown model_type is
/// kUnimplemented and the message lists the known ones.
base::StatusOr<ModelConfig> parse_model_config(std::string_view text, std::string_view name);

/// Overrides the special tokens of `config` by those that generation_config.json names.
base::Status apply_generation_config(std::string_view text, std::string_view name,
                                     ModelConfig& config);

/// config.json of `folder`, and generation_config.json where there is one.
base::StatusOr<ModelConfig> load_model_config(std::string_view folder);

}  // namespace gamelan::io
