#include "infer/model/architecture_names.h"

namespace gamelan::infer {
namespace {

constexpr std::array<std::string_view, 2> kPrefixes = {"gpt_neox.", ""};

}  // namespace

/// GPT-NeoX (arXiv 2204.06745), Pythia.
const ArchitectureNames& gpt_neox_names() {
  static constexpr ArchitectureNames kNames = {
      .prefixes = kPrefixes,
      .token_embedding = "embed_in",
      .final_norm = "final_layer_norm",
      .head = "embed_out",
      .blocks = "layers.",
      .attention_norm = "input_layernorm",
      .arrangement = QkvArrangement::kInterleaved,
      .qkv = {"attention.query_key_value"},
      .attention_output = "attention.dense",
      .mlp_norm = "post_attention_layernorm",
      .up = "mlp.dense_h_to_4h",
      .down = "mlp.dense_4h_to_h",
  };
  return kNames;
}

}  // namespace gamelan::infer
