#pragma once

#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "net/socket.h"

namespace gamelan::launch {

/// Connects on a thread of its own (name look-ups and retries block), so that the agent's loop
/// stays awake for signals. `ready_fd` becomes readable when `take` has the outcome.
class Dialer {
 public:
  Dialer(net::Endpoint endpoint, base::TimePoint deadline);
  /// Gives up; waits at most for one attempt of about a second.
  ~Dialer();
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  int ready_fd() const { return ready_.get(); }
  /// The connected socket, or the last attempt's error once the deadline has passed. Call once.
  base::StatusOr<base::Fd> take();

 private:
  void run();

  const net::Endpoint endpoint_;
  const base::TimePoint deadline_;
  base::Fd ready_;  // eventfd
  base::Mutex mutex_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<base::StatusOr<base::Fd>> outcome_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace gamelan::launch
