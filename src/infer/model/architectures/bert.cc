#include "infer/model/architecture_names.h"

namespace gamelan::infer {
namespace {

constexpr std::array<std::string_view, 2> kPrefixes = {"bert.", ""};

}  // namespace

/// BERT; bare encoders are saved without the prefix.
const ArchitectureNames& bert_names() {
  static constexpr ArchitectureNames kNames = {
      .prefixes = kPrefixes,
      .token_embedding = "embeddings.word_embeddings",
      .position_embedding = "embeddings.position_embeddings",
      .type_embedding = "embeddings.token_type_embeddings",
      .embedding_norm = "embeddings.LayerNorm",
      .blocks = "encoder.layer.",
      .attention_norm = "attention.output.LayerNorm",
      .qkv = {"attention.self.query", "attention.self.key", "attention.self.value"},
      .attention_output = "attention.output.dense",
      .mlp_norm = "output.LayerNorm",
      .up = "intermediate.dense",
      .down = "output.dense",
  };
  return kNames;
}

}  // namespace gamelan::infer
