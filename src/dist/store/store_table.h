#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "dist/store/store.h"

namespace gamelan::dist {

// Limits of every store, so that what works on one works on all (docs/formats/store.md).
inline constexpr std::size_t kMaxStoreKeyBytes = 65'535;
inline constexpr std::size_t kMaxStoreKeys = 65'536;  ///< of one request
inline constexpr std::size_t kMaxStoreMessageBytes =
    64 << 20;  ///< of one request or reply, so of a value

/// Whether a request has the keys and values that its operation takes, within the limits.
base::Status check_store_request(const StoreRequest& request);
/// Whether the operation waits for its keys.
bool waits(StoreOp op);
/// "wait timeout after 100ms, keys: /the_key": PyTorch's text, which writes keys with a slash in
/// front.
base::Status wait_timeout(const std::vector<std::string>& keys, std::int64_t timeout_ms);

/// The table behind a store: keys, values, and the requests that wait for keys. Plain data, no
/// clock and no threads: its owner calls it from one thread or under one lock.
class StoreTable {
 public:
  using WaiterId = std::uint64_t;  ///< never 0
  /// Called exactly once for a parked request. It may call cancel, and nothing else of the table.
  using Done = std::function<void(WaiterId, base::StatusOr<StoreReply>)>;

  /// Executes the request. nullopt: it waits for a key that is missing; park it or drop it.
  /// Requests that were parked for what this one stores are finished before it returns.
  std::optional<base::StatusOr<StoreReply>> execute(const StoreRequest& request);

  /// Keeps a request for which execute gave nullopt until its keys exist.
  WaiterId park(StoreRequest request, Done done);
  /// Ends a parked request with `status`; nothing when it has finished already.
  void cancel(WaiterId waiter, const base::Status& status);
  void cancel_all(const base::Status& status);

  std::size_t parked() const { return waiters_.size(); }

 private:
  struct Waiter {
    StoreRequest request;
    Done done;
    std::string missing;  // the key under which it stands in by_key_
  };

  base::StatusOr<StoreReply> add(const StoreRequest& request);
  base::StatusOr<StoreReply> append(const StoreRequest& request);
  StoreReply compare_set(const StoreRequest& request);
  base::StatusOr<StoreReply> read_all(const StoreRequest& request) const;
  const std::string* first_missing(const StoreRequest& request) const;
  void put(const std::string& key, std::string value);
  void wake(const std::string& key);
  Waiter take(std::map<WaiterId, Waiter>::iterator entry);

  std::unordered_map<std::string, std::string> values_;
  std::map<WaiterId, Waiter> waiters_;
  // Each waiter stands under one of its missing keys; when that comes, the next missing one is
  // looked for.
  std::unordered_map<std::string, std::set<WaiterId>> by_key_;
  WaiterId last_waiter_ = 0;
};

}  // namespace gamelan::dist
