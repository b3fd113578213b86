#pragma once

#include <map>
#include <memory>

#include "base/mutex.h"
#include "dist/collective/shm/shm_channel.h"
#include "dist/transport/transport.h"

namespace gamelan::dist {

/// The segments that ProcessGroup::allocate has given out, by address. Thread-safe.
class RegisteredTable {
 public:
  void add(std::uint64_t number, std::shared_ptr<Segment> segment);
  void remove(std::uint64_t number);
  /// The segment that holds all of [address, address + bytes), as the others know it; {0, 0} for
  /// none.
  SegmentSpot find(const void* address, std::size_t bytes) const;

 private:
  mutable base::Mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Segment>> segments_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gamelan::dist
