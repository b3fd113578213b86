#include "io/weights.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "io/safetensors.h"

namespace gamelan::io {
namespace {

/// Length of the longest common end of two names: "h.0.ln_1.weight" and
/// "transformer.h.0.ln_1.weight" differ by a prefix, as the same tensor of two models often does.
std::size_t common_end(std::string_view a, std::string_view b) {
  std::size_t length = 0;
  while (length < std::min(a.size(), b.size()) &&
         a[a.size() - 1 - length] == b[b.size() - 1 - length]) {
    ++length;
  }
  return length;
}

/// The names that end most like `name`, for a message.
std::string closest_names(const std::vector<WeightView>& tensors, std::string_view name) {
  constexpr std::size_t kShown = 3;
  std::vector<const WeightView*> order;
  order.reserve(tensors.size());
  for (const WeightView& view : tensors) {
    order.push_back(&view);
  }
  const std::size_t shown = std::min(kShown, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                    [&](const WeightView* a, const WeightView* b) {
                      const std::size_t of_a = common_end(a->name, name);
                      const std::size_t of_b = common_end(b->name, name);
                      return of_a != of_b ? of_a > of_b : a < b;
                    });
  std::string text;
  for (std::size_t i = 0; i < shown; ++i) {
    text += fmt::format("{}'{}'", i == 0 ? "" : ", ", order[i]->name);
  }
  return text;
}

bool is_float(tensor::DType dtype) {
  return dtype == tensor::DType::kF32 || dtype == tensor::DType::kF16 ||
         dtype == tensor::DType::kBF16 || dtype == tensor::DType::kF64;
}

}  // namespace

std::string_view storage_name_of(const WeightView& view) {
  return view.decoder != nullptr ? view.decoder->name() : safetensors_name_of(view.dtype);
}

base::StatusOr<Weights> Weights::create(std::string path, std::vector<Part> parts) {
  Weights weights;
  weights.path_ = std::move(path);
  for (Part& part : parts) {
    for (WeightView& view : part.tensors) {
      const auto [found, is_new] = weights.index_.emplace(view.name, weights.tensors_.size());
      if (!is_new) {
        return base::data_loss("{}: tensor '{}' is in {} as well",
                               view.file.empty() ? std::string_view(weights.path_) : view.file,
                               view.name, weights.tensors_[found->second].file);
      }
      weights.tensors_.push_back(std::move(view));
    }
    weights.owners_.push_back(std::move(part.owner));
  }
  return weights;
}

const WeightView* Weights::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

base::StatusOr<WeightView> Weights::get(std::string_view name) const {
  if (const WeightView* view = find(name)) {
    return *view;
  }
  if (tensors_.empty()) {
    return base::not_found("{}: no tensor '{}': it holds none at all", path_, name);
  }
  return base::not_found("{}: no tensor '{}' among its {}; closest: {}", path_, name,
                         tensors_.size(), closest_names(tensors_, name));
}

base::StatusOr<WeightView> Weights::get(std::string_view name, const tensor::Shape& shape) const {
  GAMELAN_ASSIGN_OR_RETURN(WeightView view, get(name));
  GAMELAN_RETURN_IF_ERROR(check_weight(view, shape));
  return view;
}

base::Status check_not_source(const Weights& weights, std::string_view folder) {
  namespace fs = std::filesystem;
  std::error_code ignored;  // a folder that is not there is nobody's
  for (const WeightView& view : weights.tensors()) {
    if (fs::equivalent(fs::path(view.file).parent_path(), fs::path(folder), ignored)) {
      return base::invalid_argument("{}: expected a folder to write to, got the one that {} is in",
                                    folder, view.file);
    }
  }
  return base::OkStatus();
}

base::Status check_weight(const WeightView& view, const tensor::Shape& shape) {
  if (!is_float(view.dtype)) {
    return base::invalid_argument("{}: tensor '{}' holds {}, expected floating-point numbers",
                                  view.file, view.name, tensor::name_of(view.dtype));
  }
  if (view.shape != shape) {
    return base::invalid_argument("{}: tensor '{}' has shape {}, expected {}", view.file, view.name,
                                  tensor::to_string(view.shape), tensor::to_string(shape));
  }
  return base::OkStatus();
}

}  // namespace gamelan::io
