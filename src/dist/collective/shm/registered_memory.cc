#include "dist/collective/shm/registered_memory.h"

#include <utility>

namespace gamelan::dist {

void RegisteredTable::add(std::uint64_t number, std::shared_ptr<Segment> segment) {
  const base::MutexLock lock(mutex_);
  segments_.emplace(number, std::move(segment));
}

void RegisteredTable::remove(std::uint64_t number) {
  const base::MutexLock lock(mutex_);
  segments_.erase(number);
}

SegmentSpot RegisteredTable::find(const void* address, std::size_t bytes) const {
  const base::MutexLock lock(mutex_);
  for (const auto& [number, segment] : segments_) {
    if (segment->contains(address, bytes)) {
      return {static_cast<std::uint32_t>(number),
              static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - segment->data())};
    }
  }
  return {};
}

}  // namespace gamelan::dist
