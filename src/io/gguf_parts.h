#pragma once

// Models in several GGUF files, as llama-gguf-split writes them (docs/formats/gguf.md).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/gguf_file.h"
#include "io/mapped_file.h"

namespace gamelan::io {

/// Mapped files, in order, and what they hold together.
struct GgufParts {
  std::vector<MappedFile> mapped;
  GgufFile file;
};

/// "m-00002-of-00003.gguf" becomes "m-00001-of-00003.gguf"; any other name stays as it is.
std::string first_gguf_part(std::string_view path);

/// How many files hold the model of which `file` is the first or only one.
base::StatusOr<std::int64_t> count_gguf_parts(const GgufFile& file);

/// The file that has the keys: the one at `path` or, where its name says that it is a later part,
/// the first.
base::StatusOr<GgufParts> open_first_gguf_part(std::string_view path);

/// All files of the model, found by their names beside the first, whichever `path` is. An error,
/// naming the file, when one is missing, says of itself that it is another part, or has a tensor
/// that an earlier one has; when they do not have as many tensors as the first says.
base::StatusOr<GgufParts> open_gguf_parts(std::string_view path);

}  // namespace gamelan::io
