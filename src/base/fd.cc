#include "base/fd.h"

#include <unistd.h>

namespace gamelan::base {

void Fd::reset() {
  if (fd_ >= 0) {
    // After EINTR Linux has closed the descriptor already: never repeat the call.
    ::close(fd_);
    fd_ = -1;
  }
}

}  // namespace gamelan::base
