#pragma once

#include <string_view>

#include "base/status.h"
#include "tensor/matrix_view.h"

namespace gamelan::io {

/// Writes `matrix` as a NumPy file of f32, shape [rows, columns], atomically (format version 1.0).
base::Status write_npy(std::string_view path, tensor::MatrixView<const float> matrix);

}  // namespace gamelan::io
