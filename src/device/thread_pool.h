#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace gamelan::device {

/// Threads that compute together: fork and join for kernels, a few microseconds each.
///
/// One thread owns the pool and calls run(); it takes part as thread 0. The others spin for
/// `Options::spin` after their last work, so that the kernels of one step find them awake, then
/// sleep. A body must not call run() of the same pool. Nothing is allocated after construction. The
/// destructor joins.
class ThreadPool {
 public:
  struct Options {
    /// Threads in all, the caller included; 0 = device::usable_cpu_count().
    int threads = 0;
    /// How long an idle thread polls for work before it sleeps. 0 = it sleeps at once, for when
    /// processes outnumber cores.
    std::chrono::microseconds spin{200};
    /// Binds thread i to the i-th allowed CPU.
    bool pin = false;
  };

  explicit ThreadPool(const Options& options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  /// Calls body(thread) once for each thread 0 … size() - 1 at the same time and returns when all
  /// have returned. What the bodies wrote is visible to the caller. `body` must not throw.
  void run(base::FunctionRef<void(int thread)> body);

  using RangeBody = base::FunctionRef<void(std::int64_t begin, std::int64_t end, int thread)>;
  /// Splits [0, count) into one contiguous range a thread whose bounds are multiples of `grain`
  /// (the last one's end excepted) and calls body(begin, end, thread) for those that are not empty.
  void parallel_for(std::int64_t count, std::int64_t grain, RangeBody body);

  /// The same in pieces of `grain` that threads take one after the other, for uneven work.
  void parallel_for_dynamic(std::int64_t count, std::int64_t grain, RangeBody body);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gamelan::device
