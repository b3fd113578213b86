#include "infer/model/architecture_names.h"

namespace gamelan::infer {
namespace {

constexpr std::array<std::string_view, 2> kPrefixes = {"model.", ""};

}  // namespace

/// Llama, Mistral, Qwen2.
const ArchitectureNames& llama_names() {
  static constexpr ArchitectureNames kNames = {
      .prefixes = kPrefixes,
      .token_embedding = "embed_tokens",
      .final_norm = "norm",
      .head = "lm_head",
      .blocks = "layers.",
      .attention_norm = "input_layernorm",
      .qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
      .attention_output = "self_attn.o_proj",
      .mlp_norm = "post_attention_layernorm",
      .gate = "mlp.gate_proj",
      .up = "mlp.up_proj",
      .down = "mlp.down_proj",
  };
  return kNames;
}

}  // namespace gamelan::infer
