#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "tensor/dtype.h"

namespace gamelan::apps {

/// The options of `gamelan convert`.
struct ConvertOptions {
  std::string input_dir;
  std::string output_dir;
  std::string to = "fastertransformer";
  int tensor_para_size = 1;
  /// Unset: fp32 for FasterTransformer, each tensor's own type for HuggingFace.
  std::optional<tensor::DType> data_type;
  /// "", "int8" or "int4".
  std::string quantize;
  /// Numbers that share a scale in int4.
  int group_size = 32;
  /// Where the tokenizer is, when it is not with the input.
  std::string tokenizer_path;
  int processes = 1;
  bool verbose = false;
  bool by_shard = false;
  bool overwrite = false;
};

/// Writes OUTPUT/<tp>-gpu and prints what the original converter prints.
base::Status convert_to_faster_transformer(const ConvertOptions& options);

/// Writes OUTPUT as a HuggingFace folder, with a progress bar.
base::Status convert_to_huggingface(const ConvertOptions& options);

}  // namespace gamelan::apps
