#pragma once

#include <cstdint>
#include <string>

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

}  // namespace gamelan::testing
