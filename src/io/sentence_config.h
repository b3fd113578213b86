#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/status.h"

namespace gamelan::io {

/// How a folder of the sentence-transformers library turns the hidden states of an encoder into one
/// vector: modules.json, the configuration of its pooling module, sentence_bert_config.json. What
/// the files do not say is unset, so a plain HuggingFace folder gives nothing.
struct SentenceConfig {
  enum class Pooling { kMean, kCls };
  std::optional<Pooling> pooling;
  std::optional<bool> normalize;
  std::optional<std::int64_t> max_seq_length;
};

/// kUnimplemented names a module or a pooling that is not known.
base::StatusOr<SentenceConfig> load_sentence_config(std::string_view folder);

}  // namespace gamelan::io
