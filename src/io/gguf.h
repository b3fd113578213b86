#pragma once

// Models in GGUF files (docs/formats/gguf.md).

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "io/model_files.h"
#include "text/tokenizer.h"

namespace gamelan::io {

/// A GGUF file, or all parts when it is one of several, as a HuggingFace model: names, layouts, row
/// order. Quantised tensors keep their bytes; a decoder gives their numbers. tokenizer_path is the
/// (first) file itself when it holds a tokenizer. kUnimplemented, with what is known, for another
/// architecture, a type of tensor or a tensor that is not read.
base::StatusOr<ModelFiles> open_gguf(std::string_view path);
/// The same over the bytes of a whole model, which outlive the result. `name` stands in messages.
base::StatusOr<ModelFiles> parse_gguf(std::span<const std::byte> bytes, std::string_view name);

/// The tokenizer inside: SentencePiece's ("llama") or byte-level BPE ("gpt2"). kNotFound when there
/// is none; kUnimplemented, with the known ones, for another model or pre-tokenizer. Of several
/// parts the first is read, whichever `path` is.
base::StatusOr<std::unique_ptr<text::Tokenizer>> load_gguf_tokenizer(std::string_view path);
base::StatusOr<std::unique_ptr<text::Tokenizer>> parse_gguf_tokenizer(
    std::span<const std::byte> bytes, std::string_view name);

/// Writes the byte-level tokenizer inside as tokenizer.json and tokenizer_config.json into
/// `folder`.
base::Status save_gguf_byte_level(std::string_view path, std::string_view folder);

}  // namespace gamelan::io
