#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "io/model_config.h"

namespace gamelan::io {

/// config.json of `config` under the names that transformers gives its fields for that architecture:
/// parse_model_config() reads the same ModelConfig back.
std::string format_model_config(const ModelConfig& config);

/// Writes `folder`/config.json atomically.
base::Status save_model_config(std::string_view folder, const ModelConfig& config);

}  // namespace gamelan::io
