#pragma once

#include <cstdint>
#include <string>

#include "tests/io/temporary_folder.h"

namespace gamelan::testing {

struct BloomSizes {
  std::int64_t heads = 2;
  std::int64_t head_dim = 2;
  std::int64_t layers = 1;
  std::int64_t vocab = 3;

  std::int64_t hidden() const { return heads * head_dim; }
  std::int64_t numbers() const;
};

/// Writes a HuggingFace folder of zeros in f32, whose model.safetensors has no blocks on disk.
void write_bloom_folder(const std::string& folder, const BloomSizes& sizes);

/// A tiny model of tests/infer/data with a byte-level vocabulary of its 97 tokens and no merges: a
/// printable character is a token.
void copy_model_of_characters(const std::string& name, const io::TemporaryFolder& folder);

}  // namespace gamelan::testing
