#pragma once

#include <string_view>

#include "base/status.h"

namespace gamelan::io {

/// Copies the tokenizer files that `from` (a model folder, or one file) has into the folder `to`,
/// byte for byte and each atomically: tokenizer.json, tokenizer_config.json, special_tokens_map.json,
/// added_tokens.json, vocab.json, merges.txt, vocab.txt, tokenizer.model, tokenizer.bin. `to` may be
/// the same folder: then nothing happens. kNotFound when there is none of them.
base::Status copy_tokenizer_files(std::string_view from, std::string_view to);

}  // namespace gamelan::io
