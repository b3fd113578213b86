#include "infer/model/architecture_names.h"

namespace gamelan::infer {
namespace {

constexpr std::array<std::string_view, 2> kPrefixes = {"transformer.", ""};

}  // namespace

/// BLOOM (arXiv 2211.05100).
const ArchitectureNames& bloom_names() {
  static constexpr ArchitectureNames kNames = {
      .prefixes = kPrefixes,
      .token_embedding = "word_embeddings",
      .embedding_norm = "word_embeddings_layernorm",
      .final_norm = "ln_f",
      .head = "lm_head",
      .blocks = "h.",
      .attention_norm = "input_layernorm",
      .arrangement = QkvArrangement::kInterleaved,
      .qkv = {"self_attention.query_key_value"},
      .attention_output = "self_attention.dense",
      .mlp_norm = "post_attention_layernorm",
      .up = "mlp.dense_h_to_4h",
      .down = "mlp.dense_4h_to_h",
  };
  return kNames;
}

}  // namespace gamelan::infer
