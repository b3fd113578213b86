#pragma once

// What GGUF calls the parts of each architecture, and what HuggingFace does. For io/gguf.cc.

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/gguf_file.h"
#include "io/model_config.h"

namespace gamelan::io {

/// How the layout of a tensor in the file differs from HuggingFace's.
enum class GgufLayout {
  kSame,
  kQueries,     // rotary pairs beside each other
  kKeys,        // the same, of the heads of keys
  kQkv,         // all queries, all keys, all values
  kTransposed,  // [out, in], where HuggingFace has a Conv1D's [in, out]
};

struct GgufNamed {
  std::string name;  // HuggingFace's
  GgufLayout layout = GgufLayout::kSame;
};

class GgufArchitecture {
 public:
  virtual ~GgufArchitecture() = default;
  /// nullopt for a tensor that no part of the architecture has.
  virtual std::optional<GgufNamed> name_of(std::string_view tensor) const = 0;
  /// The configuration, by way of the config.json that HuggingFace would have.
  virtual base::StatusOr<ModelConfig> config_of(const GgufFile& file) const = 0;
};

/// The architecture that `file` names. kUnimplemented with the known ones.
base::StatusOr<const GgufArchitecture*> find_gguf_architecture(const GgufFile& file);

}  // namespace gamelan::io
