#include "device/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

namespace gamelan::device {
namespace {

TEST(ArenaTest, GivesAlignedMemoryThatDoesNotOverlap) {
  Arena arena;
  auto* a = arena.take<float>(3);
  auto* b = arena.take<std::uint8_t>(65);
  auto* c = arena.take<double>(1);
  for (const void* p : {static_cast<void*>(a), static_cast<void*>(b), static_cast<void*>(c)}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 64, 0U);
  }
  std::memset(a, 1, 12);
  std::memset(b, 2, 65);
  std::memset(c, 3, 8);
  EXPECT_EQ(reinterpret_cast<std::uint8_t*>(a)[11], 1);
  EXPECT_EQ(b[64], 2);
  EXPECT_EQ(arena.peak_bytes(), 64U + 128U + 64U);
}

TEST(ArenaTest, TakesWhatIsReservedAtOnce) {
  Arena arena;
  arena.reserve(0);
  EXPECT_EQ(arena.allocations(), 0);
  arena.reserve(5 << 20);
  for (int step = 0; step < 2; ++step) {
    arena.reset();
    arena.take_bytes(3 << 20);
    arena.take_bytes((2 << 20) - 1);
  }
  EXPECT_EQ(arena.allocations(), 1);
  arena.reserve(4 << 20);  // is there
  EXPECT_EQ(arena.allocations(), 1);
  arena.take_bytes(6 << 20);
  EXPECT_EQ(arena.allocations(), 2);
}

TEST(ArenaTest, AsksForNothingMoreOnceItHasSeenTheLargestStep) {
  Arena arena;
  for (int step = 0; step < 3; ++step) {
    arena.reset();
    for (int i = 0; i < 10; ++i) {
      arena.take_bytes(std::size_t{900'000});
    }
  }
  const std::int64_t warm = arena.allocations();
  for (int step = 0; step < 5; ++step) {
    arena.reset();
    for (int i = 0; i < 10; ++i) {
      arena.take_bytes(std::size_t{900'000});
    }
  }
  EXPECT_EQ(arena.allocations(), warm);
}

TEST(ArenaTest, ScopesGiveBackWhatWasTakenWithinThem) {
  Arena arena(1024);
  arena.take_bytes(64);
  void* inside = nullptr;
  {
    const Arena::Scope scope(arena);
    inside = arena.take_bytes(128);
    {
      const Arena::Scope inner(arena);
      arena.take_bytes(std::size_t{4} << 20);  // grows
    }
  }
  EXPECT_EQ(arena.take_bytes(128), inside);
  EXPECT_GE(arena.peak_bytes(), (std::size_t{4} << 20) + 192);
}

TEST(ArenaTest, UsesTheReserveFirst) {
  Arena arena(4096);
  EXPECT_EQ(arena.allocations(), 1);
  arena.take_bytes(4096);
  EXPECT_EQ(arena.allocations(), 1);
}

}  // namespace
}  // namespace gamelan::device
