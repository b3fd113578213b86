#include "io/ft_layout.h"

#include <fmt/format.h>

namespace gamelan::io {
namespace {

void add_layer(std::int64_t layer, std::int64_t h, std::vector<FtTensor>& tensors) {
  const std::string from = fmt::format("h.{}.", layer);
  const std::string to = fmt::format("model.layers.{}.", layer);
  const auto add = [&](const char* name, const char* stem, tensor::Shape shape, FtSplit split,
                       bool qkv = false) {
    tensors.push_back({from + name, to + stem, std::move(shape), split, qkv});
  };
  const auto norm = [&](const char* name) {
    for (const char* part : {".weight", ".bias"}) {
      const std::string full = std::string(name) + part;
      add(full.c_str(), full.c_str(), {h}, FtSplit::kNone);
    }
  };
  norm("input_layernorm");
  add("self_attention.query_key_value.weight", "attention.query_key_value.weight", {3 * h, h},
      FtSplit::kOutputs, true);
  add("self_attention.query_key_value.bias", "attention.query_key_value.bias", {3 * h},
      FtSplit::kOutputs, true);
  add("self_attention.dense.weight", "attention.dense.weight", {h, h}, FtSplit::kInputs);
  add("self_attention.dense.bias", "attention.dense.bias", {h}, FtSplit::kNone);
  norm("post_attention_layernorm");
  add("mlp.dense_h_to_4h.weight", "mlp.dense_h_to_4h.weight", {4 * h, h}, FtSplit::kOutputs);
  add("mlp.dense_h_to_4h.bias", "mlp.dense_h_to_4h.bias", {4 * h}, FtSplit::kOutputs);
  add("mlp.dense_4h_to_h.weight", "mlp.dense_4h_to_h.weight", {h, 4 * h}, FtSplit::kInputs);
  add("mlp.dense_4h_to_h.bias", "mlp.dense_4h_to_h.bias", {h}, FtSplit::kNone);
}

}  // namespace

std::vector<FtTensor> ft_tensors(const FtConfig& config, bool own_head) {
  const std::int64_t h = config.hidden_size();
  const std::int64_t v = config.vocab_size;
  std::vector<FtTensor> tensors = {
      {"word_embeddings.weight", "model.wte", {v, h}},
      {"word_embeddings_layernorm.weight", "model.pre_decoder_layernorm.weight", {h}},
      {"word_embeddings_layernorm.bias", "model.pre_decoder_layernorm.bias", {h}}};
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    add_layer(i, h, tensors);
  }
  tensors.push_back({"ln_f.weight", "model.final_layernorm.weight", {h}});
  tensors.push_back({"ln_f.bias", "model.final_layernorm.bias", {h}});
  if (own_head) {
    tensors.push_back({"lm_head.weight", "model.lm_head.weight", {v, h}});
  }
  return tensors;
}

std::string ft_file_name(const FtTensor& tensor, std::int64_t rank) {
  return tensor.split == FtSplit::kNone ? tensor.stem + ".bin"
                                        : fmt::format("{}.{}.bin", tensor.stem, rank);
}

tensor::Shape ft_file_shape(const FtTensor& tensor, const FtGeometry& geometry) {
  if (tensor.split == FtSplit::kNone) {
    return tensor.source;
  }
  tensor::Shape shape;
  if (tensor.source.size() > 1) {
    shape.push_back(ft_file_rows(tensor, geometry));
  }
  const std::int64_t columns = ft_file_columns(tensor, geometry);
  if (tensor.qkv) {
    shape.push_back(3);
  }
  shape.push_back(tensor.qkv ? columns / 3 : columns);
  return shape;
}

std::int64_t ft_file_rows(const FtTensor& tensor, const FtGeometry& geometry) {
  switch (tensor.split) {
    case FtSplit::kNone:
      return tensor.outputs();
    case FtSplit::kInputs:
      return tensor.inputs() / geometry.ranks;
    case FtSplit::kOutputs:
      break;
  }
  return tensor.inputs();
}

std::int64_t ft_file_columns(const FtTensor& tensor, const FtGeometry& geometry) {
  switch (tensor.split) {
    case FtSplit::kNone:
      return tensor.inputs();
    case FtSplit::kInputs:
      return tensor.outputs();
    case FtSplit::kOutputs:
      break;
  }
  return tensor.outputs() / geometry.ranks;
}

FtColumn ft_column_of(const FtTensor& tensor, const FtGeometry& g, std::int64_t output) {
  if (!tensor.qkv) {
    const std::int64_t columns = ft_file_columns(tensor, g);
    return {output / columns, output % columns};
  }
  const std::int64_t head = output / (3 * g.head_dim);
  const std::int64_t part = output / g.head_dim % 3;  // query, key or value
  const std::int64_t heads = g.heads / g.ranks;       // of one file
  return {head / heads, (part * heads + head % heads) * g.head_dim + output % g.head_dim};
}

std::int64_t ft_output_of(const FtTensor& tensor, const FtGeometry& g, FtColumn column) {
  if (!tensor.qkv) {
    return column.rank * ft_file_columns(tensor, g) + column.column;
  }
  const std::int64_t heads = g.heads / g.ranks;
  const std::int64_t part = column.column / (heads * g.head_dim);
  const std::int64_t head = column.rank * heads + column.column / g.head_dim % heads;
  return (head * 3 + part) * g.head_dim + column.column % g.head_dim;
}

}  // namespace gamelan::io
