#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "base/mutex.h"
#include "dist/collective/work_state.h"

namespace gamelan::dist {

/// Performs operations one after the other, in the order they were added, on a worker thread or on
/// a thread that waits for one of them.
///
/// A wake-up costs tens of microseconds, so the worker is left asleep for operations that are
/// probably waited for at once: those of a kind and size whose last one was. While such operations
/// come it looks by itself every millisecond, so that a wrong guess costs one.
class OperationQueue : public std::enable_shared_from_this<OperationQueue> {
 public:
  using Run = std::function<base::Status(const Operation&)>;

  /// `run` is called by one thread at a time.
  explicit OperationQueue(Run run) : run_(std::move(run)) {}
  ~OperationQueue();

  /// Starts the worker; once.
  void start();
  std::shared_ptr<Work::State> add(Operation operation);
  /// Performs what comes up to `state`, unless another thread is doing so.
  void help(const Work::State& state);
  /// Ends the worker, after what runs now, and what is queued with `reason`. Asynchronous,
  /// idempotent.
  void close(const base::Status& reason);
  void join();

 private:
  static constexpr std::size_t kCallSites = 64;

  void work();
  void perform(const std::shared_ptr<Work::State>& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool wait_for_work() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Run run_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<std::shared_ptr<Work::State>> queue_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;  ///< the worker waits for a notification only
  std::uint64_t added_ ABSL_GUARDED_BY(mutex_) = 0;
  base::Status reason_ ABSL_GUARDED_BY(mutex_);
  /// By call site: whether its last operation was waited for before the worker would have started
  /// it.
  std::array<bool, kCallSites> waited_ ABSL_GUARDED_BY(mutex_){};
  std::thread worker_;
};

}  // namespace gamelan::dist
