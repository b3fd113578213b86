#pragma once

// Readers of the config.json of each architecture. For io/model_config.cc.

#include <cstdint>
#include <optional>
#include <vector>

#include "io/json_file.h"
#include "io/model_config.h"

namespace gamelan::io {

// Far beyond any model; they keep products of two sizes inside int64.
inline constexpr std::int64_t kMaxSize = std::int64_t{1} << 24;
inline constexpr std::int64_t kMaxLayers = 10'000;
inline constexpr std::int64_t kMaxPositions = std::int64_t{1} << 40;
inline constexpr std::int64_t kMaxToken = std::int64_t{1} << 31;

/// One config.json: the typed reads, and what they hide (that a key is there and null).
struct ConfigSource {
  const nlohmann::json& object;
  JsonReader reader;

  bool is_null(const char* key) const {
    const auto found = object.find(key);
    return found != object.end() && found->is_null();
  }
  std::int64_t size(const char* key, std::int64_t fallback) {
    return reader.integer(key, fallback, 1, kMaxSize);
  }
  /// `generic` is transformers' common name for `own`, and counts when both are there.
  std::int64_t size(const char* own, const char* generic, std::int64_t fallback) {
    return size(generic, size(own, fallback));
  }
  std::int64_t layers(const char* key, std::int64_t fallback) {
    return reader.integer(key, fallback, 1, kMaxLayers);
  }
  std::int64_t layers(const char* own, const char* generic, std::int64_t fallback) {
    return reader.integer(generic, reader.integer(own, fallback, 1, kMaxLayers), 1, kMaxLayers);
  }
  std::int64_t positions(const char* key, std::int64_t fallback) {
    return reader.integer(key, fallback, 1, kMaxPositions);
  }
  /// A token's number; null and negative numbers (as old Llama files have) mean none.
  std::optional<std::int64_t> token(const char* key, std::optional<std::int64_t> fallback);
  /// A token's number or a list of them.
  std::vector<std::int64_t> tokens(const char* key, const std::vector<std::int64_t>& fallback);
};

// Each fills what its architecture has; mistakes are left in `source.reader`.
void read_bloom(ConfigSource& source, ModelConfig& c);
void read_gpt2(ConfigSource& source, ModelConfig& c);
void read_gpt_neox(ConfigSource& source, ModelConfig& c);
void read_opt(ConfigSource& source, ModelConfig& c);
void read_llama(ConfigSource& source, ModelConfig& c);
void read_mistral(ConfigSource& source, ModelConfig& c);
void read_qwen2(ConfigSource& source, ModelConfig& c);
void read_bert(ConfigSource& source, ModelConfig& c);

}  // namespace gamelan::io
