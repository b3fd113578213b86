#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace gamelan::io {

/// config.json of a HuggingFace BERT folder, with its names and defaults.
struct BertConfig {
  std::int64_t vocab_size = 30522;
  std::int64_t hidden_size = 768;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::int64_t intermediate_size = 3072;
  /// gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu or swish.
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  /// Unset = hidden_dropout_prob.
  std::optional<double> classifier_dropout;
  std::int64_t max_position_embeddings = 512;
  std::int64_t type_vocab_size = 2;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  std::int64_t pad_token_id = 0;
  /// Classes of a sequence classifier.
  std::int64_t num_labels = 2;
  /// The classes' names, `num_labels` of them, or none: then LABEL_0, LABEL_1, …
  std::vector<std::string> labels;

  bool operator==(const BertConfig&) const = default;
};

/// The name of class `index`.
std::string label_name(const BertConfig& config, std::int64_t index);

/// Reads config.json. Unknown keys are ignored; values that would change the model into one that is
/// not supported (another model_type or activation, relative positions, a decoder, regression) are
/// refused with a message that names the key, the value and what is known. `name` stands for the
/// file.
base::StatusOr<BertConfig> parse_bert_config(std::string_view json, std::string_view name);
base::StatusOr<BertConfig> load_bert_config(std::string_view path);

/// The config.json of a BertForSequenceClassification.
std::string to_json(const BertConfig& config);

}  // namespace gamelan::io
