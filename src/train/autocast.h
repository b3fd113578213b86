#pragma once

#include <ATen/core/ATen_fwd.h>
#include <c10/core/ScalarType.h>

namespace gamelan::train {

/// Turns CPU autocast on in its scope, on this thread: matrix products run in `type` (bfloat16),
/// from weights that stay as they are. Put the forward pass and the loss inside, the backward pass
/// outside. Leaving the outermost scope drops the cached casts, so that no weight is stale after an
/// optimizer step.
class AutocastScope {
 public:
  /// `enabled` false changes nothing.
  explicit AutocastScope(bool enabled, c10::ScalarType type = c10::ScalarType::BFloat16);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  const bool enabled_;
  bool was_enabled_ = false;
  c10::ScalarType previous_type_ = c10::ScalarType::BFloat16;
};

}  // namespace gamelan::train
