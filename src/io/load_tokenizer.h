#pragma once

#include <memory>
#include <string_view>

#include "base/status.h"
#include "text/tokenizer.h"

namespace gamelan::io {

/// The tokenizer of a model folder, or of a single file, GGUF's included. The first of these that the folder has:
/// tokenizer.json; vocab.json with merges.txt; tokenizer.model (SentencePiece); vocab.txt
/// (WordPiece); tokenizer.bin (llama2.c). tokenizer_config.json beside it may add special tokens
/// and say whether a text begins and ends with one. kNotFound lists what was looked for;
/// kUnimplemented names the part of a tokenizer.json that is not known, and the known ones.
base::StatusOr<std::unique_ptr<text::Tokenizer>> load_tokenizer(std::string_view path);

}  // namespace gamelan::io
