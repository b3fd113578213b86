#include "train/models/bert_weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace gamelan::train {
namespace {

constexpr std::string_view kBasePrefix = "bert.";
// Parts that a checkpoint of another task may lack.
constexpr std::array<std::string_view, 2> kOptionalParts = {"classifier.", "bert.pooler."};
// Constant buffers of older checkpoints.
constexpr std::array<std::string_view, 2> kConstantBuffers = {"embeddings.position_ids",
                                                              "embeddings.token_type_ids"};

std::string replace_suffix(const std::string& name, std::string_view from, std::string_view to) {
  return name.ends_with(from) ? name.substr(0, name.size() - from.size()) + std::string(to) : name;
}

// The names under which a checkpoint may hold the parameter `name`, best first.
std::vector<std::string> names_in_checkpoint(const std::string& name) {
  std::vector<std::string> names = {name};
  if (name.starts_with(kBasePrefix)) {
    names.push_back(name.substr(kBasePrefix.size()));
  }
  const std::size_t new_names = names.size();
  for (std::size_t i = 0; i < new_names; ++i) {
    std::string old = replace_suffix(names[i], "LayerNorm.weight", "LayerNorm.gamma");
    old = replace_suffix(old, "LayerNorm.bias", "LayerNorm.beta");
    if (old != names[i]) {
      names.push_back(std::move(old));
    }
  }
  return names;
}

bool optional(const std::string& name) {
  return std::any_of(kOptionalParts.begin(), kOptionalParts.end(),
                     [&](std::string_view part) { return name.starts_with(part); });
}

void initialize(const std::string& name, at::Tensor parameter, const io::BertConfig& config,
                const at::Generator& generator) {
  const at::NoGradGuard no_grad;
  if (name.ends_with(".bias")) {
    parameter.zero_();
  } else if (name.ends_with("LayerNorm.weight")) {
    parameter.fill_(1.0);
  } else {
    parameter.normal_(0.0, config.initializer_range, generator);
    if (name.ends_with("word_embeddings.weight") && config.pad_token_id >= 0 &&
        config.pad_token_id < config.vocab_size) {
      parameter.select(0, config.pad_token_id).zero_();
    }
  }
}

}  // namespace

void initialize_bert(BertForSequenceClassificationImpl& model, std::uint64_t seed) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  for (const auto& item : model.named_parameters()) {
    initialize(item.key(), item.value(), model.config(), generator);
  }
}

BertLoadReport load_bert_weights(BertForSequenceClassificationImpl& model,
                                 const io::Weights& weights, std::uint64_t seed) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  WeightLoading loading;
  loading.names = names_in_checkpoint;
  loading.optional = optional;
  loading.initialize = [&](const std::string& name, at::Tensor parameter) {
    initialize(name, std::move(parameter), model.config(), generator);
  };
  loading.ignored = [](std::string_view name) {
    return std::any_of(kConstantBuffers.begin(), kConstantBuffers.end(),
                       [&](std::string_view end) { return name.ends_with(end); });
  };
  loading.shape_hint = [](const std::string& name) -> std::string {
    return name.starts_with("classifier.") ? "; the first size is the number of labels"
                                           : " by the configuration";
  };
  return load_module_weights(model, weights, loading);
}

void save_bert_weights(const BertForSequenceClassificationImpl& model, std::string_view path) {
  save_module_weights(model, path);
}

}  // namespace gamelan::train
