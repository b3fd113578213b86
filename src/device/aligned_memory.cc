#include "device/aligned_memory.h"

#include <sys/mman.h>

#include <new>

namespace gamelan::device {
namespace {

constexpr std::size_t kLargePage = std::size_t{2} << 20;

}  // namespace

void AlignedDelete::operator()(std::byte* data) const {
  ::operator delete (data, std::align_val_t{alignment});
}

AlignedBytes allocate_aligned(std::size_t bytes) {
  const std::size_t alignment = bytes < kLargePage ? 64 : kLargePage;
  auto* const data =
      static_cast<std::byte*>(::operator new (bytes, std::align_val_t{alignment}, std::nothrow));
  if (data != nullptr && bytes >= kLargePage) {
    // Only whole pages: the rest would take a page of its own. Refusal is no failure.
    (void)::madvise(data, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);
  }
  return AlignedBytes(data, AlignedDelete{alignment});
}

}  // namespace gamelan::device
