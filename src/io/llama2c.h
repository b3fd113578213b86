#pragma once

// Files of llama2.c (docs/formats/llama2c.md).

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "io/model_files.h"
#include "text/tokenizer.h"

namespace gamelan::io {

/// Whether `path` starts as a llama2.c checkpoint of a known or unknown version does. Version 0
/// has no magic number: its sizes must fit the file's size.
bool is_llama2c(std::span<const std::byte> bytes);

/// A checkpoint of version 0, 1 (f32) or 2 (int8 in groups) as a HuggingFace Llama model: names,
/// row order of queries and keys. tokenizer_path stays empty. kDataLoss when the size of the file
/// is not what its header says; kUnimplemented for other versions.
base::StatusOr<ModelFiles> open_llama2c(std::string_view path);
/// The same over bytes that outlive the result. `name` stands in messages.
base::StatusOr<ModelFiles> parse_llama2c(std::span<const std::byte> bytes, std::string_view name);

/// tokenizer.bin: pieces with scores, encoded as llama2.c's encode() does; <s> stands before a
/// text.
base::StatusOr<std::unique_ptr<text::Tokenizer>> load_llama2c_tokenizer(std::string_view path);
base::StatusOr<std::unique_ptr<text::Tokenizer>> parse_llama2c_tokenizer(
    std::span<const std::byte> bytes, std::string_view name);

}  // namespace gamelan::io
