#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/model_config.h"
#include "tensor/dtype.h"

namespace gamelan::io {

/// config.ini of a FasterTransformer folder (docs/formats/faster_transformer.md): what differs from
/// one BLOOM model to another. The other keys of its section [gpt] follow from these.
struct FtConfig {
  std::string model_name;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t size_per_head = 0;
  std::int64_t vocab_size = 0;
  /// Files that a split tensor is cut into.
  std::int64_t tensor_para_size = 1;
  /// kF32 or kF16: the type of every tensor.
  tensor::DType weight_type = tensor::DType::kF32;
  double norm_eps = 1e-5;
  /// model_variant bloom-post, where the default is bloom-pre.
  bool residual_after_norm = false;
  std::int64_t start_id = 1;
  std::int64_t end_id = 2;
  /// The folder's lm_head is [vocab, hidden]. Without this mark it is [hidden, vocab], as the
  /// original converter writes it.
  bool head_by_vocab = false;

  std::int64_t hidden_size() const { return num_heads * size_per_head; }
};

/// The text that Python's configparser would write, byte for byte: 18 keys, and the mark
/// `lm_head_layout=vocab_hidden` behind them when head_by_vocab.
std::string format_ft_config(const FtConfig& config);

/// `name` stands for the file in messages. Keys that change nothing here are listed in `notes`,
/// unless it is nullptr. A model_variant other than bloom-pre and bloom-post is kUnimplemented.
base::StatusOr<FtConfig> parse_ft_config(std::string_view text, std::string_view name,
                                         std::vector<std::string>* notes);

/// `model` must be a BLOOM whose eos is one token; else kUnimplemented.
base::StatusOr<FtConfig> to_ft_config(const ModelConfig& model);
/// The inverse. A model with a head of its own has untied embeddings.
base::StatusOr<ModelConfig> to_model_config(const FtConfig& config, bool own_head);

}  // namespace gamelan::io
