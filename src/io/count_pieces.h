#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "io/line_reader.h"
#include "text/piece_counts.h"

namespace gamelan::io {

/// Adds the pieces of a text file, plain or gzip, to `counts`, each line with its end a text of its
/// own, as HuggingFace's `Tokenizer.train` reads files. Returns the bytes read, decompressed.
base::StatusOr<std::uint64_t> count_pieces(std::string_view path,
                                           const text::PreTokenizer& splitter,
                                           text::PieceCounts& counts,
                                           const LineReaderLimits& limits = {});

}  // namespace gamelan::io
