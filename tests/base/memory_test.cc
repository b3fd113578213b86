#include "base/memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace gamelan::base {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kOwnAllocator = true;
#else
constexpr bool kOwnAllocator = false;
#endif

long faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

void touch_and_free(std::size_t bytes) {
  auto* block = static_cast<volatile char*>(std::malloc(bytes));
  for (std::size_t i = 0; i < bytes; i += 4096) {
    block[i] = 1;
  }
  std::free(const_cast<char*>(block));
}

TEST(Memory, AFreedBlockIsUsedAgainWithoutNewPages) {
  if (kOwnAllocator) {
    GTEST_SKIP() << "the sanitizer brings an allocator of its own";
  }
  constexpr std::size_t kBytes = 64u << 20;
  // In a process of its own: the setting stays for good.
  EXPECT_EXIT(
      {
        keep_freed_memory();
        touch_and_free(kBytes);
        const long before = faults();
        touch_and_free(kBytes);
        _exit(faults() - before < static_cast<long>(kBytes / 4096 / 100) ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gamelan::base
