#pragma once

#include <atomic>
#include <memory>

#include "base/mutex.h"
#include "base/status.h"
#include "dist/collective/operation.h"
#include "dist/collective/work.h"

namespace gamelan::dist {

class OperationQueue;

/// What the copies of a Work share. Ends exactly once.
class Work::State {
 public:
  /// An operation that some thread will finish; `queue` (may be null) lets a waiter perform it
  /// itself.
  explicit State(std::shared_ptr<OperationQueue> queue = nullptr) : queue_(std::move(queue)) {}

  bool done() const { return done_.load(std::memory_order_acquire); }
  /// Ends the operation and wakes who waits.
  void finish(const base::Status& status);
  /// Blocks until finish has been called.
  base::Status wait();

  const std::shared_ptr<OperationQueue>& queue() const { return queue_; }

 private:
  friend class OperationQueue;

  Operation operation_;          // the queue's
  std::uint32_t call_site_ = 0;  // the queue's
  const std::shared_ptr<OperationQueue> queue_;
  base::Mutex mutex_;
  base::CondVar changed_;
  base::Status status_;  // written before done_, read after it
  // Release after status_ is written; acquire makes it and the operation's outputs visible.
  std::atomic<bool> done_{false};
  int waiters_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace gamelan::dist
