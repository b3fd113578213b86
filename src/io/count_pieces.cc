#include "io/count_pieces.h"

#include <string>

namespace gamelan::io {

base::StatusOr<std::uint64_t> count_pieces(std::string_view path,
                                           const text::PreTokenizer& splitter,
                                           text::PieceCounts& counts,
                                           const LineReaderLimits& limits) {
  GAMELAN_ASSIGN_OR_RETURN(LineReader lines, LineReader::open(path, limits));
  std::uint64_t size_bytes = 0;
  for (std::string line;;) {
    GAMELAN_ASSIGN_OR_RETURN(const bool any, lines.next_with_end(line));
    if (!any) {
      return size_bytes;
    }
    size_bytes += line.size();
    counts.add_text(line, splitter);
  }
}

}  // namespace gamelan::io
