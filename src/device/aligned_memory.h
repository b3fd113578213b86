#pragma once

#include <cstddef>
#include <memory>

namespace gamelan::device {

struct AlignedDelete {
  std::size_t alignment = 64;
  void operator()(std::byte* data) const;
};

/// Memory at a 64-byte boundary that goes with its owner.
using AlignedBytes = std::unique_ptr<std::byte[], AlignedDelete>;

/// `bytes` of memory, not initialised; null when there is none. From 2 MiB on it begins at a large
/// page and the system is asked for large pages: weights and activations are walked through row by
/// row, each of which else lies in pages of its own. Thread-safe.
AlignedBytes allocate_aligned(std::size_t bytes);

}  // namespace gamelan::device
