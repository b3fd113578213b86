#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "dist/collective/operation.h"

namespace gamelan::dist {

/// The last operations of a group, always kept, for the errors of its ranks. Thread-safe.
class FlightRecord {
 public:
  void begin(const OpSignature& signature);
  void end(bool ok);

  /// "is still in broadcast #1840 (f32[8], root 0)", "has not called it: its last operation was …".
  std::string progress() const;
  /// The last `count` operations, oldest first, one a line with how long each took.
  std::string recent(std::size_t count) const;

 private:
  static constexpr std::size_t kEntries = 64;
  struct Entry {
    OpSignature signature;
    base::TimePoint started;
    base::TimePoint ended;
    bool running = false;
    bool ok = false;
  };

  mutable base::Mutex mutex_;
  std::array<Entry, kEntries> entries_ ABSL_GUARDED_BY(mutex_){};
  std::uint64_t begun_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace gamelan::dist
