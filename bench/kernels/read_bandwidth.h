#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/thread_pool.h"

namespace gamelan::bench {

/// What the memory gives when all threads of a pool read: a buffer beyond every cache, in pages of
/// 4 KiB, each thread a contiguous part of it.
class ReadBandwidth {
 public:
  explicit ReadBandwidth(device::ThreadPool& pool, std::size_t bytes = std::size_t{256} << 20);
  ~ReadBandwidth();
  ReadBandwidth(const ReadBandwidth&) = delete;
  ReadBandwidth& operator=(const ReadBandwidth&) = delete;

  /// Reads everything once. Bytes a second.
  double measure();

 private:
  device::ThreadPool& pool_;
  std::size_t bytes_;
  std::byte* data_;
  std::vector<std::uint64_t> sums_;  // what was read, so that it is read
};

}  // namespace gamelan::bench
