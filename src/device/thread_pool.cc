#include "device/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "device/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gamelan::device {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Clock reads cost about 25 ns, a pause about 40 cycles: one read for so many pauses.
constexpr int kPausesBetweenClockReads = 64;

/// Polls `ready` until it holds or `spin` has passed; says whether it holds.
template <class F>
bool poll(std::chrono::microseconds spin, F&& ready) {
  if (ready()) {
    return true;
  }
  const auto end = std::chrono::steady_clock::now() + spin;
  do {
    for (int i = 0; i < kPausesBetweenClockReads; ++i) {
      if (ready()) {
        return true;
      }
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

void bind_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  // A mask that was narrowed since it was read is no reason to fail: the thread then floats.
  (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

}  // namespace

class ThreadPool::Impl {
 public:
  explicit Impl(const Options& options) : spin_(options.spin) {
    const int count = options.threads > 0 ? options.threads : usable_cpu_count();
    std::vector<int> cpus;
    if (options.pin) {
      cpus = allowed_cpus();
      bind_to(cpus[0]);
    }
    for (int index = 1; index < count; ++index) {
      threads_.emplace_back([this, index, cpus] {
        if (!cpus.empty()) {
          bind_to(cpus[static_cast<std::size_t>(index) % cpus.size()]);
        }
        work(index);
      });
    }
  }

  ~Impl() {
    body_ = nullptr;
    announce();
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  void run(base::FunctionRef<void(int)> body) {
    if (threads_.empty()) {
      body(0);
      return;
    }
    GAMELAN_CHECK(body_ == nullptr, "a body of a thread pool called run() of the same pool");
    body_ = &body;
    pending_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
    announce();
    body(0);
    wait_for_others();
    body_ = nullptr;
  }

 private:
  /// Starts the next round. The release publishes body_ and pending_ to whoever sees the new
  /// number.
  void announce() {
    round_.fetch_add(1, std::memory_order_seq_cst);
    // Sequentially consistent with a sleeper's increment and its second look at round_: either this
    // thread sees the sleeper, or the sleeper sees the new round.
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
      const base::MutexLock lock(mutex_);
      wake_.notify_all();
    }
  }

  void wait_for_others() {
    const auto done = [this] { return pending_.load(std::memory_order_acquire) == 0; };
    // With at least as many CPUs as threads the others are running; a short poll then suffices.
    if (poll(std::max(spin_, std::chrono::microseconds(1)), done)) {
      return;
    }
    const base::MutexLock lock(mutex_);
    caller_sleeps_.store(true, std::memory_order_seq_cst);
    while (pending_.load(std::memory_order_seq_cst) != 0) {
      done_.wait(mutex_);
    }
    caller_sleeps_.store(false, std::memory_order_relaxed);
  }

  void finish() {
    if (pending_.fetch_sub(1, std::memory_order_seq_cst) == 1 &&
        caller_sleeps_.load(std::memory_order_seq_cst)) {
      const base::MutexLock lock(mutex_);
      done_.notify_one();
    }
  }

  void work(int index) {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_round(seen);
      ++seen;
      const base::FunctionRef<void(int)>* body = body_;
      if (body == nullptr) {
        return;
      }
      (*body)(index);
      finish();
    }
  }

  void wait_for_round(std::uint64_t seen) {
    const auto begun = [&] { return round_.load(std::memory_order_acquire) != seen; };
    if (poll(spin_, begun)) {
      return;
    }
    const base::MutexLock lock(mutex_);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (round_.load(std::memory_order_seq_cst) == seen) {
      wake_.wait(mutex_);
    }
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

  const std::chrono::microseconds spin_;
  // Written by the caller between rounds, read by the others after they have seen the round.
  const base::FunctionRef<void(int)>* body_ = nullptr;
  alignas(64) std::atomic<std::uint64_t> round_{0};
  alignas(64) std::atomic<int> pending_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
  base::Mutex mutex_;  // for sleeping and waking alone: it guards no data
  base::CondVar wake_;
  base::CondVar done_;
  std::vector<std::thread> threads_;
};

ThreadPool::ThreadPool(const Options& options) : impl_(std::make_unique<Impl>(options)) {}
ThreadPool::~ThreadPool() = default;

int ThreadPool::size() const {
  return impl_->size();
}

void ThreadPool::run(base::FunctionRef<void(int)> body) {
  impl_->run(body);
}

void ThreadPool::parallel_for(std::int64_t count, std::int64_t grain, RangeBody body) {
  if (count <= 0) {
    return;
  }
  const std::int64_t pieces = (count + grain - 1) / grain;
  const std::int64_t threads = std::min<std::int64_t>(size(), pieces);
  if (threads == 1) {
    body(0, count, 0);
    return;
  }
  run([&](int thread) {
    if (thread >= threads) {
      return;
    }
    const std::int64_t begin = pieces * thread / threads * grain;
    const std::int64_t end = std::min(count, pieces * (thread + 1) / threads * grain);
    if (begin < end) {
      body(begin, end, thread);
    }
  });
}

void ThreadPool::parallel_for_dynamic(std::int64_t count, std::int64_t grain, RangeBody body) {
  if (count <= 0) {
    return;
  }
  if (size() == 1 || count <= grain) {
    body(0, count, 0);
    return;
  }
  std::atomic<std::int64_t> next{0};
  run([&](int thread) {
    for (;;) {
      // Relaxed: the pieces are independent, and run() orders their results before its return.
      const std::int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) {
        return;
      }
      body(begin, std::min(count, begin + grain), thread);
    }
  });
}

}  // namespace gamelan::device
