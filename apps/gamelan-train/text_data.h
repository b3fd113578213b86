#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/text_dataset.h"

namespace gamelan::apps {

struct TextDataOptions {
  io::RowColumns columns;
  bool has_header = true;
  /// Draws so many samples, the same for the same seed, and keeps their order; 0 = all.
  std::int64_t max_samples = 0;
  std::uint64_t seed = 0;
};

/// Reads a labelled data set. `labels` are the names of the classes, in the order of their numbers;
/// in the data a class may be given by its name or by its number. Empty = the classes that occur,
/// at least two. Throws c10::Error, naming file and line.
io::TextDataset read_texts(const std::string& path, const TextDataOptions& options,
                           const std::vector<std::string>& labels);

}  // namespace gamelan::apps
