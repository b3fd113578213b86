#include "infer/model/architecture_names.h"

namespace gamelan::infer {
namespace {

constexpr std::array<std::string_view, 3> kPrefixes = {"model.decoder.", "decoder.", ""};

}  // namespace

/// OPT (arXiv 2205.01068).
const ArchitectureNames& opt_names() {
  static constexpr ArchitectureNames kNames = {
      .prefixes = kPrefixes,
      .token_embedding = "embed_tokens",
      .position_embedding = "embed_positions",
      .project_in = "project_in",
      .project_out = "project_out",
      .final_norm = "final_layer_norm",
      .head = "lm_head",
      .blocks = "layers.",
      .attention_norm = "self_attn_layer_norm",
      .qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
      .attention_output = "self_attn.out_proj",
      .mlp_norm = "final_layer_norm",
      .up = "fc1",
      .down = "fc2",
  };
  return kNames;
}

}  // namespace gamelan::infer
