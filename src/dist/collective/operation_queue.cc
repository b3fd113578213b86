#include "dist/collective/operation_queue.h"

#include <bit>
#include <utility>

#include "dist/transport/failure.h"

namespace gamelan::dist {
namespace {

using std::chrono::milliseconds;

// How often the worker looks while operations come that it was not woken for, and how many looks in
// vain make it sleep until it is woken.
constexpr milliseconds kLook{1};
constexpr int kLooks = 50;

}  // namespace

void Work::State::finish(const base::Status& status) {
  const base::MutexLock lock(mutex_);
  if (done_.load(std::memory_order_relaxed)) {
    return;
  }
  status_ = own_copy(status);
  done_.store(true, std::memory_order_release);
  if (waiters_ > 0) {
    changed_.notify_all();
  }
}

base::Status Work::State::wait() {
  const base::MutexLock lock(mutex_);
  ++waiters_;
  while (!done_.load(std::memory_order_relaxed)) {
    changed_.wait(mutex_);
  }
  --waiters_;
  return own_copy(status_);
}

bool Work::done() const {
  return state_ != nullptr && state_->done();
}

base::Status Work::wait() const {
  GAMELAN_CHECK(state_ != nullptr, "Work::wait is called on an operation");
  if (!state_->done() && state_->queue()) {
    state_->queue()->help(*state_);
  }
  return state_->wait();
}

OperationQueue::~OperationQueue() {
  close(base::aborted("the group is gone"));
  join();
}

void OperationQueue::start() {
  worker_ = std::thread([this] { work(); });
}

std::shared_ptr<Work::State> OperationQueue::add(Operation operation) {
  auto state = std::make_shared<Work::State>(shared_from_this());
  const auto size_class = static_cast<std::uint32_t>(std::bit_width(operation.input.size_bytes()));
  state->call_site_ =
      (static_cast<std::uint32_t>(operation.signature.kind) * 7 + size_class) % kCallSites;
  state->operation_ = std::move(operation);
  base::Status refused;
  bool wake = false;
  {
    const base::MutexLock lock(mutex_);
    refused = own_copy(reason_);
    if (!closed_) {
      state->operation_.signature.sequence = added_++;
      queue_.push_back(state);
      wake = asleep_ || !waited_[state->call_site_];
    }
  }
  if (!refused.ok()) {
    state->finish(refused);
  } else if (wake) {
    changed_.notify_all();
  }
  return state;
}

void OperationQueue::perform(const std::shared_ptr<Work::State>& state) {
  running_ = true;
  mutex_.unlock();
  const base::Status status = run_(state->operation_);
  state->finish(status);
  mutex_.lock();
  running_ = false;
}

void OperationQueue::help(const Work::State& state) {
  const base::MutexLock lock(mutex_);
  if (running_) {
    return;  // whoever runs goes on to this operation
  }
  if (!queue_.empty() && queue_.front().get() == &state) {
    waited_[state.call_site_] = true;
  }
  while (!queue_.empty() && !state.done()) {
    const std::shared_ptr<Work::State> next = std::move(queue_.front());
    queue_.pop_front();
    perform(next);
  }
  if (!queue_.empty() || closed_) {
    changed_.notify_all();
  }
}

bool OperationQueue::wait_for_work() {
  int looks = 0;
  std::uint64_t seen = added_;
  while (!closed_ && (queue_.empty() || running_)) {
    if (looks >= kLooks) {
      asleep_ = true;
      changed_.wait(mutex_);
      asleep_ = false;
      looks = 0;
      continue;
    }
    changed_.wait_until(mutex_, base::Clock::now() + kLook);
    looks = seen == added_ ? looks + 1 : 0;
    seen = added_;
  }
  return !closed_;
}

void OperationQueue::work() {
  const base::MutexLock lock(mutex_);
  while (wait_for_work()) {
    const std::shared_ptr<Work::State> next = std::move(queue_.front());
    queue_.pop_front();
    waited_[next->call_site_] = false;
    perform(next);
  }
}

void OperationQueue::close(const base::Status& reason) {
  std::deque<std::shared_ptr<Work::State>> dropped;
  {
    const base::MutexLock lock(mutex_);
    if (!closed_) {
      closed_ = true;
      reason_ = own_copy(reason);
    }
    dropped.swap(queue_);
  }
  changed_.notify_all();
  for (const auto& state : dropped) {
    state->finish(reason);
  }
}

void OperationQueue::join() {
  if (worker_.joinable()) {
    worker_.join();
  }
  // A waiter that performs operations must be out of the group's code, too.
  const base::MutexLock lock(mutex_);
  while (running_) {
    changed_.wait(mutex_);
  }
}

}  // namespace gamelan::dist
