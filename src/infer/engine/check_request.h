#pragma once

#include "base/status.h"
#include "infer/engine/engine.h"
#include "infer/engine/request.h"
#include "io/model_config.h"

namespace gamelan::infer {

/// What an engine can hold.
struct EngineLimits {
  int max_sequences = 0;
  std::int64_t blocks = 0;
  std::int64_t block_tokens = 0;
  bool prefix_sharing = true;
  bool has_draft = false;
};

/// The longest text, prompt included, that the model can run; 0 = no limit. A rotation that is
/// scaled with the text (dynamic) has none.
std::int64_t longest_text(const io::ModelConfig& config);

/// The texts that are generated at the same time.
int texts_of(const Request& request);

/// Most blocks that `request` may need at the same time, when nothing else runs.
std::int64_t blocks_of(const Request& request, const EngineLimits& limits);

/// kInvalidArgument, naming the field, what was expected and what came, unless `request` can be run
/// to its end.
base::Status check_request(const Request& request, const io::ModelConfig& config,
                           const EngineLimits& limits);

}  // namespace gamelan::infer
