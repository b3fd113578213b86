#include "bench/kernels/read_bandwidth.h"

#include <sys/mman.h>

#include <cstring>

#include "base/clock.h"
#include "base/status.h"

namespace gamelan::bench {
namespace {

typedef std::uint64_t Words __attribute__((vector_size(32)));

std::uint64_t sum_of(const std::byte* data, std::size_t bytes) {
  // Eight sums: additions do not wait for each other.
  Words sums[8] = {};
  for (std::size_t i = 0; i + sizeof sums <= bytes; i += sizeof sums) {
    for (std::size_t j = 0; j < 8; ++j) {
      Words value;
      std::memcpy(&value, data + i + j * sizeof value, sizeof value);
      sums[j] += value;
    }
  }
  std::uint64_t total = 0;
  for (const Words& sum : sums) {
    total += sum[0] + sum[1] + sum[2] + sum[3];
  }
  return total;
}

}  // namespace

ReadBandwidth::ReadBandwidth(device::ThreadPool& pool, std::size_t bytes)
    : pool_(pool), bytes_(bytes), sums_(static_cast<std::size_t>(pool.size()) * 8) {
  void* const mapped =
      ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  GAMELAN_CHECK(mapped != MAP_FAILED, "no memory for {} bytes", bytes_);
  data_ = static_cast<std::byte*>(mapped);
  ::madvise(data_, bytes_, MADV_NOHUGEPAGE);
  std::memset(data_, 1, bytes_);
}

ReadBandwidth::~ReadBandwidth() {
  ::munmap(data_, bytes_);
}

double ReadBandwidth::measure() {
  const auto start = base::Clock::now();
  pool_.parallel_for(static_cast<std::int64_t>(bytes_), 4096,
                     [&](std::int64_t begin, std::int64_t end, int thread) {
                       sums_[static_cast<std::size_t>(thread) * 8] +=
                           sum_of(data_ + begin, static_cast<std::size_t>(end - begin));
                     });
  return static_cast<double>(bytes_) / base::seconds(base::Clock::now() - start);
}

}  // namespace gamelan::bench
