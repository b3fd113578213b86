#pragma once

#include <atomic>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/status.h"

namespace gamelan::dist {

/// The same error in memory of its own. Statuses share their text by a count inside Abseil's
/// library, which the thread sanitizer cannot see (Debian's is not instrumented): what threads pass
/// to each other is a copy.
base::Status own_copy(const base::Status& status);

/// Whether, and why, a group can no longer work. The first reason stays. Thread-safe.
class Failure {
 public:
  Failure();

  bool failed() const { return failed_.load(std::memory_order_acquire); }
  /// OK while nothing has failed.
  base::Status status() const;
  /// Returns whether this was the first reason.
  bool set(const base::Status& reason);
  /// Readable from the failure on: what a thread in poll(2) watches beside its sockets.
  int fd() const { return event_.get(); }

 private:
  mutable base::Mutex mutex_;
  base::Status status_ ABSL_GUARDED_BY(mutex_);
  // Release after status_ is written, acquire before it is read; status() locks as well.
  std::atomic<bool> failed_{false};
  base::Fd event_;
};

}  // namespace gamelan::dist
