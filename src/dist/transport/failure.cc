#include "dist/transport/failure.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>

namespace gamelan::dist {

base::Status own_copy(const base::Status& status) {
  return status.ok() ? status : base::Status(status.code(), std::string(base::message(status)));
}

Failure::Failure() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  GAMELAN_CHECK(event_.valid(), "a process can open an eventfd (errno {})", errno);
}

base::Status Failure::status() const {
  const base::MutexLock lock(mutex_);
  return own_copy(status_);
}

bool Failure::set(const base::Status& reason) {
  {
    const base::MutexLock lock(mutex_);
    if (!status_.ok()) {
      return false;
    }
    status_ = own_copy(reason);
    failed_.store(true, std::memory_order_release);
  }
  const std::uint64_t one = 1;
  // An eventfd that counts from 0 takes one write without fail.
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof(one));
  return true;
}

}  // namespace gamelan::dist
