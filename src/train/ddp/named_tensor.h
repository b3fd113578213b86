#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace gamelan::train {

/// A parameter or buffer with its name in the module, "layers.0.weight".
struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

}  // namespace gamelan::train
