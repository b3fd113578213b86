#pragma once

// Boost.Asio inside EventLoop: included by the sources of net/ only.

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>
#include <unordered_map>

#include "base/mutex.h"
#include "net/event_loop.h"

namespace gamelan::net {

class EventLoop::Impl {
 public:
  explicit Impl(Options options);
  ~Impl();

  boost::asio::io_context& context() { return context_; }

  bool post(Task task);
  bool in_loop() const { return std::this_thread::get_id() == thread_.get_id(); }
  TimerId call_at(base::TimePoint when, Task task);
  void cancel(TimerId timer);
  void close();
  void join();

 private:
  void run();

  const Options options_;
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  // Of the loop's thread.
  TimerId last_timer_ = 0;
  std::unordered_map<TimerId, boost::asio::steady_timer> timers_;

  base::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace gamelan::net
