#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace gamelan::dist {

/// What a store can do. The numbers go over the wire (docs/formats/store.md): append only.
enum class StoreOp : std::uint8_t {
  kSet = 1,
  kGet = 2,
  kAdd = 3,
  kWait = 4,
  kCheck = 5,
  kCompareSet = 6,
  kDelete = 7,
  kAppend = 8,
  kMultiGet = 9,
  kMultiSet = 10,
  kNumKeys = 11,
};

struct StoreRequest {
  StoreOp op = StoreOp::kGet;
  std::vector<std::string> keys;
  std::vector<std::string>
      values;  ///< set, append: one; multi_set: one a key; compare_set: expected, desired
  std::int64_t delta = 0;  ///< add
};

struct StoreReply {
  std::vector<std::string> values;  ///< get, multi_get, compare_set
  std::int64_t number = 0;          ///< add: the sum; check, delete: 0 or 1; num_keys
};

/// A key-value table shared by the processes of a job, with blocking reads: what they find each
/// other through. The semantics are those of torch.distributed.Store: values are bytes, `add` keeps
/// decimal text, `get` and `wait` block until the keys exist.
///
/// Thread-safe. A call that times out (kDeadlineExceeded, "wait timeout after 100ms, keys:
/// /the_key") leaves the store usable. A timeout of zero means the store's own default.
class Store {
 public:
  static constexpr std::chrono::milliseconds kDefaultTimeout{300'000};

  virtual ~Store() = default;

  /// The one thing an implementation provides; everything below is written on top of it. Blocks for
  /// the operations that wait, at most `timeout`.
  virtual base::StatusOr<StoreReply> execute(const StoreRequest& request,
                                             std::chrono::milliseconds timeout) = 0;

  base::Status set(std::string_view key, std::string_view value);
  base::StatusOr<std::string> get(std::string_view key, std::chrono::milliseconds timeout = {});
  /// Adds to the decimal number under `key` (0 when missing) and returns the sum.
  base::StatusOr<std::int64_t> add(std::string_view key, std::int64_t delta);
  base::Status wait(const std::vector<std::string>& keys, std::chrono::milliseconds timeout = {});
  /// Whether all keys exist; does not block.
  base::StatusOr<bool> check(const std::vector<std::string>& keys);
  /// Stores and returns `desired` when the value is `expected`, or when the key is missing and
  /// `expected` is empty. Otherwise stores nothing and returns the current value; for a missing
  /// key, `expected`.
  base::StatusOr<std::string> compare_set(std::string_view key, std::string_view expected,
                                          std::string_view desired);
  /// Whether the key existed.
  base::StatusOr<bool> delete_key(std::string_view key);
  base::Status append(std::string_view key, std::string_view suffix);
  base::StatusOr<std::vector<std::string>> multi_get(const std::vector<std::string>& keys,
                                                     std::chrono::milliseconds timeout = {});
  base::Status multi_set(const std::vector<std::string>& keys,
                         const std::vector<std::string>& values);
  base::StatusOr<std::int64_t> num_keys();
};

}  // namespace gamelan::dist
