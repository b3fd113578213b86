#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "io/ft_layout.h"
#include "io/weights.h"
#include "tensor/dtype.h"

namespace gamelan::io {

/// Writes rank `rank`'s file of a tensor to `path` in bands of rows, so that memory does not grow
/// with the tensor. `view` has the shape tensor.source. Thread-safe.
base::Status write_ft_file(const FtTensor& tensor, const FtGeometry& geometry,
                           const WeightView& view, std::int64_t rank, tensor::DType type,
                           std::string_view path);

}  // namespace gamelan::io
