#pragma once

#include <array>
#include <span>
#include <string_view>

#include "io/model_config.h"

namespace gamelan::infer {

/// How the rows of the projection to queries, keys and values are arranged in a checkpoint.
enum class QkvArrangement {
  kSeparate,     // three matrices
  kJoined,       // one: all queries, all keys, all values
  kInterleaved,  // one: [heads, 3, head_dim]
};

/// What the tensors of an architecture are called. A layer's name stands for NAME.weight and, where
/// the configuration has biases, NAME.bias; empty = the architecture has no such layer. What the
/// layers compute is in io::ModelConfig. One constant of this type is all that an architecture adds
/// (architectures/; docs/inference.md).
struct ArchitectureNames {
  /// What may stand in front of every name but the head's: the first prefix with which the
  /// checkpoint has the token embedding counts.
  std::span<const std::string_view> prefixes;
  std::string_view token_embedding;
  std::string_view position_embedding = {};
  std::string_view type_embedding = {};
  std::string_view embedding_norm = {};
  std::string_view project_in = {};
  std::string_view project_out = {};
  std::string_view final_norm = {};
  std::string_view head = {};

  /// Stands before the number of a block; what follows stands behind "NUMBER.".
  std::string_view blocks;
  std::string_view attention_norm;
  QkvArrangement arrangement = QkvArrangement::kSeparate;
  /// Only the first unless they are separate.
  std::array<std::string_view, 3> qkv;
  std::string_view attention_output;
  std::string_view mlp_norm;
  std::string_view gate = {};
  std::string_view up;
  std::string_view down;
  /// The blocks' matrices are stored [in, out].
  bool input_first = false;
};

const ArchitectureNames& bert_names();
const ArchitectureNames& bloom_names();
const ArchitectureNames& gpt2_names();
const ArchitectureNames& gpt_neox_names();
const ArchitectureNames& llama_names();
const ArchitectureNames& opt_names();

/// The names of `architecture`, which may be one of those that have the same.
const ArchitectureNames& names_of(io::Architecture architecture);

}  // namespace gamelan::infer
