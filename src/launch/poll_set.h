#pragma once

#include <poll.h>

#include <functional>
#include <vector>

#include "base/clock.h"

namespace gamelan::launch {

/// The descriptors of one turn of an event loop. Filled anew each turn, so that owners may come and
/// go.
class PollSet {
 public:
  void add(int fd, short events, std::function<void()> ready) {
    fds_.push_back({.fd = fd, .events = events, .revents = 0});
    ready_.push_back(std::move(ready));
  }
  /// Waits for the first event or `deadline`, then calls what is ready, in the order of `add`.
  void wait(base::TimePoint deadline) {
    if (poll(fds_.data(), fds_.size(), base::poll_timeout(deadline)) <= 0) {
      return;
    }
    for (std::size_t i = 0; i < fds_.size(); ++i) {
      if (fds_[i].revents != 0) {
        ready_[i]();
      }
    }
  }

 private:
  std::vector<pollfd> fds_;
  std::vector<std::function<void()>> ready_;
};

}  // namespace gamelan::launch
