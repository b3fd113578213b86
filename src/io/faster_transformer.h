#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/model_config.h"
#include "io/weights.h"

namespace gamelan::io {

struct FasterTransformerModel {
  ModelConfig config;
  /// Under HuggingFace's names ("transformer.h.0.…") and shapes, whatever number of files each was
  /// split into. Their decoders read the mapped files; nothing is copied.
  Weights weights;
  /// Sentences for the user: keys that were ignored, how an output head was taken.
  std::vector<std::string> notes;
};

/// Whether `path` is a FasterTransformer folder or holds exactly one of them: OUT/2-gpu, or OUT.
bool is_faster_transformer_folder(std::string_view path);

/// Opens such a folder (docs/formats/faster_transformer.md). Fails when a file is missing or has
/// another size than config.ini says, and when OUT holds several folders.
base::StatusOr<FasterTransformerModel> open_faster_transformer(std::string_view path);

}  // namespace gamelan::io
