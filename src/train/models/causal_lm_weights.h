#pragma once

#include <cstdint>
#include <string_view>

#include "io/weights.h"
#include "train/models/causal_lm.h"
#include "train/models/module_weights.h"

namespace gamelan::train {

/// Draws every parameter as HuggingFace does: weights from normal(0, 0.02), biases 0, norms 1 and
/// 0; GPT-2's projections onto the residual from normal(0, 0.02 / sqrt(2 layers)). The same `seed`
/// gives the same weights.
void initialize_causal_lm(CausalLMImpl& model, std::uint64_t seed);

/// Copies a checkpoint into the model. Names may lack the prefix `transformer.`; nothing may be
/// missing. An output head in the checkpoint counts as unused. Throws c10::ValueError as
/// load_module_weights.
WeightLoadReport load_causal_lm_weights(CausalLMImpl& model, const io::Weights& weights);

/// Writes every parameter under its HuggingFace name to `path`, atomically. Throws c10::Error.
void save_causal_lm_weights(const CausalLMImpl& model, std::string_view path);

}  // namespace gamelan::train
