#include "net/event_loop.h"

#include <pthread.h>

#include <boost/asio/post.hpp>
#include <utility>

#include "base/status.h"
#include "net/event_loop_impl.h"

namespace gamelan::net {

EventLoop::Impl::Impl(Options options)
    : options_(std::move(options)), work_(context_.get_executor()) {
  thread_ = std::thread([this] { run(); });
}

EventLoop::Impl::~Impl() {
  close();
  join();
}

void EventLoop::Impl::run() {
  ::pthread_setname_np(::pthread_self(), options_.name.substr(0, 15).c_str());
  if (options_.spin.count() == 0) {
    context_.run();
    return;
  }
  base::TimePoint last_work = base::Clock::now();
  while (!context_.stopped()) {
    if (context_.poll() > 0) {
      last_work = base::Clock::now();
    } else if (base::Clock::now() - last_work > options_.spin) {
      context_.run_one();
      last_work = base::Clock::now();
    }
  }
}

bool EventLoop::Impl::post(Task task) {
  base::MutexLock lock(mutex_);
  if (closed_) {
    return false;
  }
  boost::asio::post(context_, std::move(task));
  return true;
}

EventLoop::TimerId EventLoop::Impl::call_at(base::TimePoint when, Task task) {
  const TimerId id = ++last_timer_;
  auto [entry, inserted] = timers_.try_emplace(id, context_, when);
  entry->second.async_wait(
      [this, id, task = std::move(task)](const boost::system::error_code& error) {
        // A cancelled timer's entry is gone; one that had already expired when it was cancelled
        // comes here without an error all the same.
        if (!error && timers_.erase(id) == 1) {
          task();
        }
      });
  return id;
}

void EventLoop::Impl::cancel(TimerId timer) {
  timers_.erase(timer);
}

void EventLoop::Impl::close() {
  base::MutexLock lock(mutex_);
  if (!closed_) {
    closed_ = true;
    boost::asio::post(context_, [this] { context_.stop(); });
  }
}

void EventLoop::Impl::join() {
  if (thread_.joinable()) {
    GAMELAN_CHECK(!in_loop(), "an event loop is joined by another thread than its own");
    thread_.join();
  }
}

EventLoop::EventLoop(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
EventLoop::~EventLoop() = default;
bool EventLoop::post(Task task) {
  return impl_->post(std::move(task));
}
bool EventLoop::in_loop() const {
  return impl_->in_loop();
}
EventLoop::TimerId EventLoop::call_at(base::TimePoint when, Task task) {
  return impl_->call_at(when, std::move(task));
}
void EventLoop::cancel(TimerId timer) {
  impl_->cancel(timer);
}
void EventLoop::close() {
  impl_->close();
}
void EventLoop::join() {
  impl_->join();
}

}  // namespace gamelan::net
