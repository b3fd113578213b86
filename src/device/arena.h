#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/aligned_memory.h"

namespace gamelan::device {

/// Memory for the intermediate results of a step, given out by moving a pointer and taken back all
/// at once. reserve() takes what a step will need beforehand. It grows when it has to; reset() then
/// joins what it has into one block of the largest size seen, so that after the first steps nothing
/// is allocated. Not thread-safe: the thread that runs the step takes memory, also on behalf of the
/// pool's threads.
class Arena {
 public:
  explicit Arena(std::size_t reserve_bytes = 0);
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// `count` elements of T at a 64-byte boundary, not initialised. Valid until the Scope around the
  /// call ends, or reset(). Throws std::bad_alloc when there is no memory.
  template <class T>
  T* take(std::int64_t count) {
    return static_cast<T*>(take_bytes(static_cast<std::size_t>(count) * sizeof(T)));
  }
  void* take_bytes(std::size_t bytes);
  /// Takes everything back. Costs nothing unless the arena had to grow.
  void reset();
  /// Takes everything back and sees to one block of at least so many bytes; pages come when they
  /// are written. Throws std::bad_alloc when there is no memory.
  void reserve(std::size_t bytes);
  /// What take_bytes(bytes) uses up, for those who plan.
  static std::size_t rounded(std::size_t bytes);

  /// The most bytes that were in use at the same time.
  std::size_t peak_bytes() const { return peak_; }
  /// Blocks asked of the heap since construction; constant once warmed up.
  std::int64_t allocations() const { return allocations_; }

  /// Gives back at its end what was taken during its life. Scopes nest.
  class Scope {
   public:
    explicit Scope(Arena& arena);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::size_t block_;
    std::size_t offset_;
    std::size_t used_;
  };

 private:
  struct Block {
    AlignedBytes data;
    std::size_t size = 0;
  };
  void add_block(std::size_t bytes);

  std::vector<Block> blocks_;
  std::size_t block_ = 0;   // the one that is being given out
  std::size_t offset_ = 0;  // within it
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
  std::int64_t allocations_ = 0;
};

}  // namespace gamelan::device
