#pragma once

// The rotary embedding in a config.json. For io/model_config_json.cc.

#include "io/json_file.h"
#include "io/model_config.h"

namespace gamelan::io {

/// What an architecture takes where a file is silent, and how it calls it.
struct RopeNames {
  const char* theta = "rope_theta";
  const char* partial = "partial_rotary_factor";
  double default_partial = 1.0;
};

/// Fills config.rope; config.head_dim and config.max_positions are known. Mistakes are left in
/// `reader`.
void read_rope(const nlohmann::json& object, const RopeNames& names, JsonReader& reader,
               ModelConfig& config);

}  // namespace gamelan::io
