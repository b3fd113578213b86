#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/int4_weights.h"
#include "io/model_files.h"
#include "tensor/dtype.h"

namespace gamelan::io {

enum class Quantisation { kNone, kInt8, kInt4 };

struct HuggingFaceWriterOptions {
  /// Type of the floating-point tensors: kF32, kF16 or kBF16; unset: each keeps its own, quantised
  /// ones become f32.
  std::optional<tensor::DType> dtype;
  /// Of the linear layers inside the blocks (docs/formats/quantised.md).
  Quantisation quantisation = Quantisation::kNone;
  /// For kInt4.
  Int4Coding int4;
  /// Replaces a model folder that is there already; else that is an error.
  bool overwrite = false;
  /// Called after each tensor with the bytes that it takes in the file. May be empty.
  std::function<void(std::int64_t bytes)> on_written;
};

/// What write_huggingface wrote.
struct HuggingFaceWritten {
  std::int64_t tensors = 0;
  std::int64_t bytes = 0;
  /// Whether the folder has a tokenizer.
  bool tokenizer = false;
};

/// Bytes of all tensors that write_huggingface would write: the sum of what on_written is told.
std::int64_t huggingface_bytes(const ModelFiles& model, const HuggingFaceWriterOptions& options);

/// Writes a model, whatever files it came from, as the HuggingFace folder `output`: config.json,
/// generation_config.json (not for encoders), model.safetensors and the tokenizer's files
/// (docs/formats/model_folder.md). Numbers are rounded to nearest even. Tensors go through memory
/// in bands: beside the pages of the tensor being read, which are let go, at most 40 MiB are
/// needed. The folder appears when it is complete, and not at all after a failure; one that is
/// replaced must hold a config.json.
base::StatusOr<HuggingFaceWritten> write_huggingface(const ModelFiles& model,
                                                     std::string_view output,
                                                     const HuggingFaceWriterOptions& options);

}  // namespace gamelan::io
