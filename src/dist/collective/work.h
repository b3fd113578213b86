#pragma once

#include <memory>

#include "base/clock.h"
#include "base/status.h"

namespace gamelan::dist {

/// The handle of an operation under way. Copies share the operation; dropping every copy does not cancel
/// it. Thread-safe.
class Work {
 public:
  class State;

  Work() = default;
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

  bool valid() const { return state_ != nullptr; }
  bool done() const;
  /// Blocks until the operation has ended, which its own deadline bounds, and returns how.
  /// REQUIRES: valid().
  base::Status wait() const;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace gamelan::dist
