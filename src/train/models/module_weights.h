#pragma once

// Parameters of a module to and from the tensors of a checkpoint.

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "io/weights.h"

namespace torch::nn {
class Module;
}

namespace gamelan::train {

/// What loading a checkpoint left open.
struct WeightLoadReport {
  /// Parameters that the checkpoint lacks and that were drawn anew.
  std::vector<std::string> new_weights;
  /// Tensors of the checkpoint that the model has no place for (heads of other tasks).
  std::vector<std::string> unused;
};

/// How the parameters of one kind of model are found.
struct WeightLoading {
  /// The names under which a checkpoint may hold a parameter, best first.
  std::function<std::vector<std::string>(const std::string& parameter)> names;
  /// Whether a checkpoint may lack it; `initialize` then draws it.
  std::function<bool(const std::string& parameter)> optional;
  std::function<void(const std::string& parameter, at::Tensor value)> initialize;
  /// Tensors that are no parameters and are left alone without a word.
  std::function<bool(std::string_view tensor)> ignored;
  /// Appended to the message about the shape of a parameter; may be empty.
  std::function<std::string(const std::string& parameter)> shape_hint;
};

/// Copies a checkpoint into the module, converting every type to the parameters'. Throws
/// c10::ValueError, before anything is changed, when a tensor is missing or a shape differs: the
/// message names the file and the tensor, what was expected and what came.
WeightLoadReport load_module_weights(torch::nn::Module& module, const io::Weights& weights,
                                     const WeightLoading& loading);

/// Writes every parameter under its name to `path`, atomically. Throws c10::Error.
void save_module_weights(const torch::nn::Module& module, std::string_view path);

}  // namespace gamelan::train
