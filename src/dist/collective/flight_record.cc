#include "dist/collective/flight_record.h"

#include <algorithm>

namespace gamelan::dist {

void FlightRecord::begin(const OpSignature& signature) {
  const base::TimePoint now = base::Clock::now();
  const base::MutexLock lock(mutex_);
  entries_[begun_++ % kEntries] = {signature, now, now, true, false};
}

void FlightRecord::end(bool ok) {
  const base::TimePoint now = base::Clock::now();
  const base::MutexLock lock(mutex_);
  Entry& entry = entries_[(begun_ - 1) % kEntries];
  entry.ended = now;
  entry.running = false;
  entry.ok = ok;
}

std::string FlightRecord::progress() const {
  const base::MutexLock lock(mutex_);
  if (begun_ == 0) {
    return "has not called any operation yet";
  }
  const Entry& last = entries_[(begun_ - 1) % kEntries];
  return fmt::format("{} {}",
                     last.running ? "is still in" : "has not called it: its last operation was",
                     to_string(last.signature));
}

std::string FlightRecord::recent(std::size_t count) const {
  const base::MutexLock lock(mutex_);
  const std::uint64_t shown = std::min<std::uint64_t>({begun_, count, kEntries});
  std::string text;
  for (std::uint64_t i = begun_ - shown; i < begun_; ++i) {
    const Entry& entry = entries_[i % kEntries];
    const base::TimePoint ended = entry.running ? base::Clock::now() : entry.ended;
    text += fmt::format("{} {:.3f} ms{}\n", to_string(entry.signature),
                        base::seconds(ended - entry.started) * 1e3,
                        entry.running ? ", running" : (entry.ok ? "" : ", failed"));
  }
  return text;
}

}  // namespace gamelan::dist
