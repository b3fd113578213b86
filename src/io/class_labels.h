#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/json_file.h"

namespace gamelan::io {

/// The classes of a ...ForSequenceClassification in a config.json.
struct ClassLabels {
  std::int64_t count = 2;
  /// One name a class, or empty.
  std::vector<std::string> names;
};

/// Reads num_labels, id2label and label2id, which may each be missing but must not contradict each
/// other. Mistakes are left in `reader`.
ClassLabels read_class_labels(JsonReader& reader, std::int64_t default_count);

/// The name of class `index`: "LABEL_i" when it has none.
std::string label_name(const std::vector<std::string>& names, std::int64_t index);

}  // namespace gamelan::io
