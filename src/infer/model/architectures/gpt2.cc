#include "infer/model/architecture_names.h"

namespace gamelan::infer {
namespace {

constexpr std::array<std::string_view, 2> kPrefixes = {"transformer.", ""};

}  // namespace

/// GPT-2: its matrices are those of a Conv1D.
const ArchitectureNames& gpt2_names() {
  static constexpr ArchitectureNames kNames = {
      .prefixes = kPrefixes,
      .token_embedding = "wte",
      .position_embedding = "wpe",
      .final_norm = "ln_f",
      .head = "lm_head",
      .blocks = "h.",
      .attention_norm = "ln_1",
      .arrangement = QkvArrangement::kJoined,
      .qkv = {"attn.c_attn"},
      .attention_output = "attn.c_proj",
      .mlp_norm = "ln_2",
      .up = "mlp.c_fc",
      .down = "mlp.c_proj",
      .input_first = true,
  };
  return kNames;
}

}  // namespace gamelan::infer
