#include "dist/store/hash_store.h"

#include <optional>
#include <utility>

#include "base/clock.h"

namespace gamelan::dist {

base::StatusOr<StoreReply> HashStore::execute(const StoreRequest& request,
                                              std::chrono::milliseconds timeout) {
  if (timeout.count() < 0) {
    return base::invalid_argument("a store's time-out is 0 or more, got {} ms", timeout.count());
  }
  if (timeout.count() == 0) {
    timeout = timeout_;
  }
  base::CondVar finished;
  std::optional<base::StatusOr<StoreReply>> reply;
  base::MutexLock lock(mutex_);
  reply = table_.execute(request);
  if (reply.has_value()) {
    return *std::move(reply);
  }
  // The callback runs under the lock; all it does is hand over the reply.
  const StoreTable::WaiterId waiter =
      table_.park(request, [&](StoreTable::WaiterId, base::StatusOr<StoreReply> result) {
        reply = std::move(result);
        finished.notify_one();
      });
  const base::TimePoint deadline = base::deadline_after(timeout);
  while (!reply.has_value()) {
    if (deadline == base::TimePoint::max()) {
      finished.wait(mutex_);
    } else if (!finished.wait_until(mutex_, deadline)) {
      table_.cancel(waiter, wait_timeout(request.keys, timeout.count()));
    }
  }
  return *std::move(reply);
}

}  // namespace gamelan::dist
