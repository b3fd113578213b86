#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "io/model_config.h"
#include "io/weights.h"

namespace gamelan::io {

/// What a model consists of, whatever files hold it.
struct ModelFiles {
  ModelConfig config;
  /// Named and laid out as HuggingFace's of the same architecture.
  Weights weights;
  /// What load_tokenizer takes: the folder itself, or a file. Empty when there is none.
  std::string tokenizer_path;
};

/// Opens the model at `path` (docs/formats/model_folder.md). Recognised by content:
///   a folder with config.json: HuggingFace's;
///   a FasterTransformer folder, OUT or OUT/2-gpu, which holds no tokenizer;
///   a file: GGUF, or any of its parts, with the tokenizer inside; a llama2.c checkpoint, whose
///   tokenizer.bin or only tok*.bin lies beside it;
///   a folder with one *.gguf, or the parts of one, and none of the above.
/// kNotFound when there is nothing at `path`, kInvalidArgument with the list of what is known when
/// it is none of these.
base::StatusOr<ModelFiles> load_model_files(std::string_view path);

}  // namespace gamelan::io
