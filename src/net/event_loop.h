#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"

namespace gamelan::net {

/// One thread that runs tasks, timers and the readiness of sockets (FrameServer). What lives on a
/// loop is touched by that thread alone.
///
/// post(), close(), join() and in_loop() may be called from any thread, the rest from the loop's.
/// Tasks are called without a lock and must not throw or block.
class EventLoop {
 public:
  struct Options {
    /// Name of the thread, at most 15 characters.
    std::string name = "event loop";
    /// How long the thread polls after it did something, before it sleeps; 0 = it sleeps at once.
    std::chrono::microseconds spin{0};
  };
  using Task = std::function<void()>;
  using TimerId = std::uint64_t;  ///< never 0

  EventLoop() : EventLoop(Options()) {}
  explicit EventLoop(Options options);
  /// close() and join(). REQUIRES: not called on the loop's thread.
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Runs `task` on the loop's thread, in the order of the calls. False, and `task` is dropped,
  /// once the loop is closed.
  bool post(Task task);
  bool in_loop() const;

  /// Runs `task` once, at `when` or soon after, unless cancelled or the loop closed before.
  TimerId call_at(base::TimePoint when, Task task);
  /// Does nothing when the timer has run or never was.
  void cancel(TimerId timer);

  /// What was posted before still runs, then the thread ends. Idempotent.
  void close();
  /// Waits for the thread. REQUIRES: close() was called, and this is not the loop's thread.
  void join();

  /// Boost.Asio's side of the loop (event_loop_impl.h), for the sources of net/.
  class Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace gamelan::net
