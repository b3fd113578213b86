#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/model_config.h"
#include "io/weights.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace gamelan::io {

/// A file of a FasterTransformer folder that has been written.
struct FtSaved {
  /// "model.layers.0.attention.dense.weight".
  std::string_view name;
  const tensor::Shape& shape;
  /// Where the file is once the folder is complete.
  std::string_view path;
  bool split = false;
  std::int64_t rank = 0;
};

struct FtWriterOptions {
  /// Number of files of each tensor that is split; must divide the heads.
  std::int64_t tensor_para_size = 1;
  /// kF32 or kF16, of every tensor.
  tensor::DType weight_type = tensor::DType::kF32;
  /// Threads that convert.
  int workers = 1;
  /// A worker takes all tensors of one file of the source, not one tensor at a time.
  bool by_shard = false;
  /// Replaces a folder that is there already; else that is an error.
  bool overwrite = false;
  /// config.ini's model_name.
  std::string model_name;
  /// Called from the workers' threads, possibly at the same time. May be empty.
  std::function<void(const FtSaved&)> on_saved;
};

/// Writes a BLOOM model as OUTPUT/<tp>-gpu (docs/formats/faster_transformer.md). Everything is
/// checked before anything is written; the folder appears when it is complete and not at all after
/// a failure. What a killed writer left in `output` goes at the next call. Numbers are rounded to
/// nearest even. Each worker needs at most 40 MiB beside the mapped pages that it is reading, of
/// which it lets go every 8 MiB.
base::Status write_faster_transformer(const ModelConfig& model, const Weights& weights,
                                      std::string_view output, const FtWriterOptions& options);

/// Tensors that the model has, as write_faster_transformer counts them.
std::int64_t count_ft_tensors(const ModelConfig& model, const Weights& weights);

}  // namespace gamelan::io
