#pragma once

#include <cstdint>
#include <string_view>

#include "io/weights.h"
#include "train/models/bert.h"
#include "train/models/module_weights.h"

namespace gamelan::train {

/// `new_weights` are of the classifier and the pooler.
using BertLoadReport = WeightLoadReport;

/// Draws every parameter as HuggingFace does: weights from normal(0, initializer_range), biases 0,
/// LayerNorms 1 and 0, the embedding of the padding token 0. The same `seed` gives the same
/// weights.
void initialize_bert(BertForSequenceClassificationImpl& model, std::uint64_t seed);

/// Copies a checkpoint into the model, converting f16, bf16 and f64 to f32. Names may lack the
/// prefix `bert.` (base checkpoints) and may be TensorFlow's old `gamma` and `beta`; buffers that
/// hold constants are ignored. A missing classifier or pooler is drawn from `seed`, as by
/// initialize_bert. Throws c10::ValueError, before anything is changed, when another tensor is
/// missing or a shape differs: the message names the file and the tensor, what was expected and
/// what came.
BertLoadReport load_bert_weights(BertForSequenceClassificationImpl& model,
                                 const io::Weights& weights, std::uint64_t seed);

/// Writes every parameter under its HuggingFace name to `path`, atomically. Throws c10::Error.
void save_bert_weights(const BertForSequenceClassificationImpl& model, std::string_view path);

}  // namespace gamelan::train
