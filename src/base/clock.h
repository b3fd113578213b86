#pragma once

#include <chrono>

namespace gamelan::base {

/// The clock of deadlines and durations; never the wall clock, which may jump.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

/// The moment `timeout` from now; a timeout too large to add (or Duration::max()) means never.
inline TimePoint deadline_after(Duration timeout) {
  const TimePoint now = Clock::now();
  return timeout > TimePoint::max() - now ? TimePoint::max() : now + timeout;
}

/// Time left until `deadline` in whole milliseconds, rounded up, for poll(2): 0 once it has passed, -1 for
/// a deadline that never comes.
inline int poll_timeout(TimePoint deadline) {
  if (deadline == TimePoint::max()) {
    return -1;
  }
  const TimePoint now = Clock::now();
  if (deadline <= now) {
    return 0;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count();
  return left > 1'000'000'000 ? 1'000'000'000 : static_cast<int>(left);
}

inline double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace gamelan::base
