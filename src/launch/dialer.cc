#include "launch/dialer.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace gamelan::launch {
namespace {

/// One attempt; short, so that an agent that is told to end does so soon.
constexpr std::chrono::milliseconds kAttempt{500};

}  // namespace

Dialer::Dialer(net::Endpoint endpoint, base::TimePoint deadline)
    : endpoint_(std::move(endpoint)),
      deadline_(deadline),
      ready_(eventfd(0, EFD_CLOEXEC)),
      thread_([this] { run(); }) {}

Dialer::~Dialer() {
  {
    const base::MutexLock lock(mutex_);
    closing_ = true;
  }
  thread_.join();
}

void Dialer::run() {
  while (true) {
    auto socket = net::connect_tcp(endpoint_, std::min(deadline_, base::deadline_after(kAttempt)));
    const base::MutexLock lock(mutex_);
    if (closing_) {
      return;
    }
    if (socket.ok() || base::Clock::now() >= deadline_) {
      outcome_ = std::move(socket);
      const std::uint64_t one = 1;
      [[maybe_unused]] const ssize_t written = write(ready_.get(), &one, sizeof(one));
      return;
    }
  }
}

base::StatusOr<base::Fd> Dialer::take() {
  const base::MutexLock lock(mutex_);
  if (!outcome_) {
    return base::internal("the dialer has no outcome yet");
  }
  auto outcome = *std::move(outcome_);
  outcome_.reset();
  return outcome;
}

}  // namespace gamelan::launch
