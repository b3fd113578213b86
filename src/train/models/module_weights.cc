#include "train/models/module_weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "io/safetensors_writer.h"
#include "io/weight_rows.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

// A message lists no more names than this.
constexpr std::size_t kNamesShown = 5;

const io::WeightView* find_in(const io::Weights& weights, const std::string& parameter,
                              const WeightLoading& loading) {
  for (const std::string& name : loading.names(parameter)) {
    if (const io::WeightView* view = weights.find(name)) {
      return view;
    }
  }
  return nullptr;
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

void check_fits(const std::string& name, const at::Tensor& parameter, const io::WeightView& view,
                const WeightLoading& loading) {
  const std::string path(view.file);
  TORCH_CHECK_VALUE(parameter.sizes() == at::IntArrayRef(view.shape), path, ": tensor '", view.name,
                    "' has shape ", tensor::to_string(view.shape), ", expected ",
                    tensor::to_string(parameter.sizes().vec()), " for ", name,
                    loading.shape_hint(name));
  TORCH_CHECK_VALUE(is_float(view.dtype), path, ": tensor '", view.name, "' holds ",
                    tensor::name_of(view.dtype), ", expected floating-point numbers");
}

at::Tensor copy_of(const io::WeightView& view) {
  if (!view.plain()) {
    at::Tensor tensor = at::empty(view.shape, at::kFloat);
    io::read_rows(view, 0, io::rows_of(view),
                  {tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
    return tensor;
  }
  at::Tensor tensor = at::empty(view.shape, scalar_type_of(view.dtype));
  if (!view.bytes.empty()) {
    std::memcpy(tensor.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
  }
  return tensor;
}

}  // namespace

WeightLoadReport load_module_weights(torch::nn::Module& module, const io::Weights& weights,
                                     const WeightLoading& loading) {
  WeightLoadReport report;
  std::vector<std::string> missing;
  std::set<std::string> used;
  const auto parameters = module.named_parameters();
  for (const auto& item : parameters) {
    if (const io::WeightView* view = find_in(weights, item.key(), loading)) {
      check_fits(item.key(), item.value(), *view, loading);
      used.insert(view->name);
    } else {
      (loading.optional(item.key()) ? report.new_weights : missing).push_back(item.key());
    }
  }
  TORCH_CHECK_VALUE(missing.empty(), weights.path(), ": ", missing.size(), " of ",
                    parameters.size(), " tensors of the model are missing: ", some_of(missing));
  for (const io::WeightView& view : weights.tensors()) {
    if (!used.contains(view.name) && !loading.ignored(view.name)) {
      report.unused.push_back(view.name);
    }
  }
  const at::NoGradGuard no_grad;
  for (const auto& item : parameters) {
    at::Tensor parameter = item.value();
    if (const io::WeightView* view = find_in(weights, item.key(), loading)) {
      parameter.copy_(copy_of(*view));
    } else {
      loading.initialize(item.key(), parameter);
    }
  }
  return report;
}

void save_module_weights(const torch::nn::Module& module, std::string_view path) {
  std::vector<io::SafetensorsView> views;
  std::vector<at::Tensor> keep_alive;
  for (const auto& item : module.named_parameters()) {
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
