#include "train/models/bert_weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "io/safetensors_writer.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

constexpr std::string_view kBasePrefix = "bert.";
// Parts that a checkpoint of another task may lack.
constexpr std::array<std::string_view, 2> kOptionalParts = {"classifier.", "bert.pooler."};
// Constant buffers of older checkpoints.
constexpr std::array<std::string_view, 2> kConstantBuffers = {"embeddings.position_ids",
                                                              "embeddings.token_type_ids"};
// A message lists no more names than this.
constexpr std::size_t kNamesShown = 5;

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

const io::WeightView* find_in(const io::Weights& weights, const std::string& name) {
  for (const std::string& candidate : names_in_checkpoint(name)) {
    if (const io::WeightView* view = weights.find(candidate)) {
      return view;
    }
  }
  return nullptr;
}

bool optional(const std::string& name) {
  return std::any_of(kOptionalParts.begin(), kOptionalParts.end(),
                     [&](std::string_view part) { return name.starts_with(part); });
}

std::string some_of(const std::vector<std::string>& names) {
  const std::size_t shown = std::min(names.size(), kNamesShown);
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + shown, ", "));
  return shown < names.size() ? text + fmt::format(" and {} more", names.size() - shown) : text;
}

bool is_float(tensor::DType type) {
  return type == tensor::DType::kF32 || type == tensor::DType::kF16 ||
         type == tensor::DType::kBF16 || type == tensor::DType::kF64;
}

void check_fits(const std::string& name, const at::Tensor& parameter, const io::WeightView& view) {
  const std::string path(view.file);
  TORCH_CHECK_VALUE(parameter.sizes() == at::IntArrayRef(view.shape), path, ": tensor '", view.name,
                    "' has shape ", tensor::to_string(view.shape), ", expected ",
                    tensor::to_string(parameter.sizes().vec()), " for ", name,
                    name.starts_with("classifier.") ? "; the first size is the number of labels"
                                                    : " by the configuration");
  TORCH_CHECK_VALUE(is_float(view.dtype), path, ": tensor '", view.name, "' holds ",
                    tensor::name_of(view.dtype), ", expected floating-point numbers");
}

at::Tensor copy_of(const io::WeightView& view) {
  at::Tensor tensor = at::empty(view.shape, scalar_type_of(view.dtype));
  if (!view.bytes.empty()) {
    std::memcpy(tensor.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
  }
  return tensor;
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

std::vector<std::string> unused_tensors(const io::Weights& weights,
                                        const std::set<std::string>& used) {
  std::vector<std::string> unused;
  for (const io::WeightView& view : weights.tensors()) {
    const bool constant =
        std::any_of(kConstantBuffers.begin(), kConstantBuffers.end(),
                    [&](std::string_view end) { return view.name.ends_with(end); });
    if (!constant && !used.contains(view.name)) {
      unused.push_back(view.name);
    }
  }
  return unused;
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
  const std::string& path = weights.path();
  BertLoadReport report;
  std::vector<std::string> missing;
  std::set<std::string> used;
  const auto parameters = model.named_parameters();
  for (const auto& item : parameters) {
    if (const io::WeightView* view = find_in(weights, item.key())) {
      check_fits(item.key(), item.value(), *view);
      used.insert(view->name);
    } else {
      (optional(item.key()) ? report.new_weights : missing).push_back(item.key());
    }
  }
  TORCH_CHECK_VALUE(missing.empty(), path, ": ", missing.size(), " of ", parameters.size(),
                    " tensors of the model are missing: ", some_of(missing));
  report.unused = unused_tensors(weights, used);
  const at::NoGradGuard no_grad;
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  for (const auto& item : parameters) {
    at::Tensor parameter = item.value();
    if (const io::WeightView* view = find_in(weights, item.key())) {
      parameter.copy_(copy_of(*view));
    } else {
      initialize(item.key(), parameter, model.config(), generator);
    }
  }
  return report;
}

void save_bert_weights(const BertForSequenceClassificationImpl& model, std::string_view path) {
  std::vector<io::SafetensorsView> views;
  std::vector<at::Tensor> keep_alive;
  for (const auto& item : model.named_parameters()) {
    const at::Tensor tensor = item.value().detach().contiguous();
    keep_alive.push_back(tensor);
    views.push_back({item.key(),
                     dtype_of(tensor.scalar_type()),
                     tensor.sizes().vec(),
                     {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}});
  }
  throw_if_error(io::save_safetensors(path, views, {{"format", "pt"}}));
}

}  // namespace gamelan::train
