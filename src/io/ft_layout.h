#pragma once

// Which file of a FasterTransformer folder holds which numbers of a BLOOM model
// (docs/formats/faster_transformer.md). Shared by its writer and its reader.

#include <cstdint>
#include <string>
#include <vector>

#include "io/ft_config.h"
#include "tensor/shape.h"

namespace gamelan::io {

enum class FtSplit {
  kNone,     // one file, the tensor as it is
  kOutputs,  // transposed to [in, out]; each file has a part of the columns
  kInputs,   // transposed to [in, out]; each file has a part of the rows
};

/// One tensor: `source` is [outputs, inputs], a bias [outputs].
struct FtTensor {
  /// HuggingFace's name, without "transformer.".
  std::string name;
  /// File name without rank and ".bin".
  std::string stem;
  tensor::Shape source;
  FtSplit split = FtSplit::kNone;
  /// Outputs are (head, 3, d) in the source and (3, head, d) in the files.
  bool qkv = false;

  std::int64_t outputs() const { return source.front(); }
  std::int64_t inputs() const { return source.size() < 2 ? 1 : source.back(); }
};

/// Sizes that the layout of the files depends on.
struct FtGeometry {
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t ranks = 1;
};

/// Where output `o` of a tensor split by outputs lies: column `column` of file `rank`.
struct FtColumn {
  std::int64_t rank = 0;
  std::int64_t column = 0;
};

/// Every tensor of the model in the order of transformers' named_parameters(); the head last, when
/// `own_head`.
std::vector<FtTensor> ft_tensors(const FtConfig& config, bool own_head);

/// The name of rank `rank`'s file: "model.wte.bin", "model.layers.0.attention.dense.weight.1.bin".
std::string ft_file_name(const FtTensor& tensor, std::int64_t rank);
/// The shape in a file: [in, 3, out/t/3] for the weight of query_key_value.
tensor::Shape ft_file_shape(const FtTensor& tensor, const FtGeometry& geometry);
/// The same as a matrix.
std::int64_t ft_file_rows(const FtTensor& tensor, const FtGeometry& geometry);
std::int64_t ft_file_columns(const FtTensor& tensor, const FtGeometry& geometry);

/// For tensors that are split by outputs, and each other's inverse.
FtColumn ft_column_of(const FtTensor& tensor, const FtGeometry& geometry, std::int64_t output);
std::int64_t ft_output_of(const FtTensor& tensor, const FtGeometry& geometry, FtColumn column);

}  // namespace gamelan::io
