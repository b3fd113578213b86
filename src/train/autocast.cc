#include "train/autocast.h"

#include <ATen/autocast_mode.h>

namespace gamelan::train {

AutocastScope::AutocastScope(bool enabled, c10::ScalarType type) : enabled_(enabled) {
  if (!enabled_) {
    return;
  }
  was_enabled_ = at::autocast::is_autocast_enabled(at::kCPU);
  previous_type_ = at::autocast::get_autocast_dtype(at::kCPU);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, type);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  if (!enabled_) {
    return;
  }
  if (at::autocast::decrement_nesting() == 0) {
    at::autocast::clear_cache();
  }
  at::autocast::set_autocast_enabled(at::kCPU, was_enabled_);
  at::autocast::set_autocast_dtype(at::kCPU, previous_type_);
}

}  // namespace gamelan::train
