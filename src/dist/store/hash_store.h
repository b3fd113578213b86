#pragma once

#include "base/mutex.h"
#include "dist/store/store.h"
#include "dist/store/store_table.h"

namespace gamelan::dist {

/// A store for the threads of one process. Thread-safe; destroy it when no thread is inside.
class HashStore : public Store {
 public:
  /// `timeout` is what calls without one of their own get.
  explicit HashStore(std::chrono::milliseconds timeout = kDefaultTimeout) : timeout_(timeout) {}
  ~HashStore() override = default;

  base::StatusOr<StoreReply> execute(const StoreRequest& request,
                                     std::chrono::milliseconds timeout) override;

 private:
  const std::chrono::milliseconds timeout_;
  base::Mutex mutex_;
  StoreTable table_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gamelan::dist
