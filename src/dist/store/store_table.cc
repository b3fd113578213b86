#include "dist/store/store_table.h"

#include <charconv>
#include <utility>

namespace gamelan::dist {
namespace {

struct Shape {
  const char* name;
  int keys;    // -1 = any number
  int values;  // -1 = one a key
  bool waits;
};

constexpr int kAny = -1;

std::optional<Shape> shape_of(StoreOp op) {
  switch (op) {
    case StoreOp::kSet:
      return Shape{"set", 1, 1, false};
    case StoreOp::kGet:
      return Shape{"get", 1, 0, true};
    case StoreOp::kAdd:
      return Shape{"add", 1, 0, false};
    case StoreOp::kWait:
      return Shape{"wait", kAny, 0, true};
    case StoreOp::kCheck:
      return Shape{"check", kAny, 0, false};
    case StoreOp::kCompareSet:
      return Shape{"compare_set", 1, 2, false};
    case StoreOp::kDelete:
      return Shape{"delete", 1, 0, false};
    case StoreOp::kAppend:
      return Shape{"append", 1, 1, false};
    case StoreOp::kMultiGet:
      return Shape{"multi_get", kAny, 0, true};
    case StoreOp::kMultiSet:
      return Shape{"multi_set", kAny, kAny, false};
    case StoreOp::kNumKeys:
      return Shape{"num_keys", 0, 0, false};
  }
  return std::nullopt;
}

base::StatusOr<std::int64_t> parse_decimal(const std::string& key, const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return base::invalid_argument("add expects a decimal number under key '{}', got '{}'{}", key,
                                  text.substr(0, 32), text.size() > 32 ? "..." : "");
  }
  return value;
}

base::Status too_large(const char* operation, std::size_t bytes) {
  return base::resource_exhausted("{} of {} bytes: a store message has at most {} bytes", operation,
                                  bytes, kMaxStoreMessageBytes);
}

// What a message takes beside its keys and values: fixed fields, and a length for each of them.
constexpr std::size_t kFixedBytes = 32;
constexpr std::size_t kLengthBytes = 4;

}  // namespace

bool waits(StoreOp op) {
  const std::optional<Shape> shape = shape_of(op);
  return shape.has_value() && shape->waits;
}

base::Status check_store_request(const StoreRequest& request) {
  const std::optional<Shape> shape = shape_of(request.op);
  if (!shape.has_value()) {
    return base::unimplemented("the store knows no operation {}", static_cast<int>(request.op));
  }
  const std::size_t keys = request.keys.size();
  const std::size_t expected_keys = shape->keys == kAny ? keys : shape->keys;
  const std::size_t expected_values = shape->values == kAny ? keys : shape->values;
  if (keys != expected_keys || request.values.size() != expected_values) {
    return base::invalid_argument("{} expects {} keys and {} values, got {} and {}", shape->name,
                                  expected_keys, expected_values, keys, request.values.size());
  }
  if (keys > kMaxStoreKeys) {
    return base::invalid_argument("{} expects at most {} keys, got {}", shape->name, kMaxStoreKeys,
                                  keys);
  }
  std::size_t bytes = kFixedBytes;
  for (const std::string& key : request.keys) {
    if (key.size() > kMaxStoreKeyBytes) {
      return base::invalid_argument("{} expects keys of at most {} bytes, got one of {}",
                                    shape->name, kMaxStoreKeyBytes, key.size());
    }
    bytes += kLengthBytes + key.size();
  }
  for (const std::string& value : request.values) {
    bytes += kLengthBytes + value.size();
  }
  return bytes > kMaxStoreMessageBytes ? too_large(shape->name, bytes) : base::OkStatus();
}

base::Status wait_timeout(const std::vector<std::string>& keys, std::int64_t timeout_ms) {
  constexpr std::size_t kNamed = 100;  // a message, not a dump
  std::string list;
  for (std::size_t i = 0; i < keys.size() && i < kNamed; ++i) {
    list += (i == 0 ? "/" : ", /") + keys[i];
  }
  if (keys.size() > kNamed) {
    list += fmt::format(" and {} more", keys.size() - kNamed);
  }
  return base::deadline_exceeded("wait timeout after {}ms, keys: {}", timeout_ms, list);
}

std::optional<base::StatusOr<StoreReply>> StoreTable::execute(const StoreRequest& request) {
  if (const base::Status status = check_store_request(request); !status.ok()) {
    return status;
  }
  StoreReply reply;
  switch (request.op) {
    case StoreOp::kSet:
    case StoreOp::kMultiSet:
      for (std::size_t i = 0; i < request.keys.size(); ++i) {
        put(request.keys[i], request.values[i]);
      }
      // Only now: who waits for several of these keys sees all of them.
      for (const std::string& key : request.keys) {
        wake(key);
      }
      return reply;
    case StoreOp::kGet:
    case StoreOp::kWait:
    case StoreOp::kMultiGet:
      if (first_missing(request) != nullptr) {
        return std::nullopt;
      }
      return read_all(request);
    case StoreOp::kAdd:
      return add(request);
    case StoreOp::kCheck:
      reply.number = first_missing(request) == nullptr ? 1 : 0;
      return reply;
    case StoreOp::kCompareSet:
      return compare_set(request);
    case StoreOp::kDelete:
      reply.number = static_cast<std::int64_t>(values_.erase(request.keys[0]));
      return reply;
    case StoreOp::kAppend:
      return append(request);
    case StoreOp::kNumKeys:
      reply.number = static_cast<std::int64_t>(values_.size());
      return reply;
  }
  return base::internal("operation {} passed its check", static_cast<int>(request.op));
}

base::StatusOr<StoreReply> StoreTable::add(const StoreRequest& request) {
  const std::string& key = request.keys[0];
  StoreReply reply;
  std::int64_t before = 0;
  const auto found = values_.find(key);
  if (found != values_.end()) {
    GAMELAN_ASSIGN_OR_RETURN(before, parse_decimal(key, found->second));
  }
  if (__builtin_add_overflow(before, request.delta, &reply.number)) {
    return base::invalid_argument("add: {} + {} under key '{}' does not fit 64 bits", before,
                                  request.delta, key);
  }
  if (found != values_.end()) {
    found->second = std::to_string(reply.number);  // it exists: nobody waits for it
  } else {
    put(key, std::to_string(reply.number));
    wake(key);
  }
  return reply;
}

base::StatusOr<StoreReply> StoreTable::append(const StoreRequest& request) {
  std::string& value = values_[request.keys[0]];
  const std::size_t bytes = value.size() + request.values[0].size() + kFixedBytes;
  if (bytes > kMaxStoreMessageBytes) {
    return too_large("append to a value", bytes);
  }
  value += request.values[0];
  wake(request.keys[0]);
  return StoreReply();
}

StoreReply StoreTable::compare_set(const StoreRequest& request) {
  const std::string& key = request.keys[0];
  const std::string& expected = request.values[0];
  const std::string& desired = request.values[1];
  StoreReply reply;
  const auto found = values_.find(key);
  const bool stores = found == values_.end() ? expected.empty() : found->second == expected;
  if (stores) {
    reply.values.push_back(desired);
    put(key, desired);
    wake(key);
  } else {
    reply.values.push_back(found == values_.end() ? expected : found->second);
  }
  return reply;
}

base::StatusOr<StoreReply> StoreTable::read_all(const StoreRequest& request) const {
  StoreReply reply;
  if (request.op == StoreOp::kWait) {
    return reply;
  }
  std::size_t bytes = kFixedBytes;
  for (const std::string& key : request.keys) {
    bytes += kLengthBytes + values_.at(key).size();
  }
  if (bytes > kMaxStoreMessageBytes) {
    return too_large("reply to multi_get", bytes);
  }
  reply.values.reserve(request.keys.size());
  for (const std::string& key : request.keys) {
    reply.values.push_back(values_.at(key));
  }
  return reply;
}

const std::string* StoreTable::first_missing(const StoreRequest& request) const {
  for (const std::string& key : request.keys) {
    if (!values_.contains(key)) {
      return &key;
    }
  }
  return nullptr;
}

void StoreTable::put(const std::string& key, std::string value) {
  values_.insert_or_assign(key, std::move(value));
}

void StoreTable::wake(const std::string& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    return;
  }
  // The callbacks may cancel others of these: look each one up again.
  const std::set<WaiterId> candidates = std::move(found->second);
  by_key_.erase(found);
  for (const WaiterId id : candidates) {
    const auto entry = waiters_.find(id);
    if (entry == waiters_.end()) {
      continue;
    }
    const std::string* missing = first_missing(entry->second.request);
    if (missing != nullptr) {
      entry->second.missing = *missing;
      by_key_[*missing].insert(id);
      continue;
    }
    const Waiter waiter = take(entry);
    waiter.done(id, read_all(waiter.request));
  }
}

StoreTable::WaiterId StoreTable::park(StoreRequest request, Done done) {
  const std::string* missing = first_missing(request);
  GAMELAN_CHECK(missing != nullptr, "a parked request waits for a key");
  const WaiterId id = ++last_waiter_;
  by_key_[*missing].insert(id);
  std::string key = *missing;
  waiters_.emplace(id, Waiter{std::move(request), std::move(done), std::move(key)});
  return id;
}

StoreTable::Waiter StoreTable::take(std::map<WaiterId, Waiter>::iterator entry) {
  const auto standing = by_key_.find(entry->second.missing);
  if (standing != by_key_.end()) {
    standing->second.erase(entry->first);
    if (standing->second.empty()) {
      by_key_.erase(standing);
    }
  }
  Waiter waiter = std::move(entry->second);
  waiters_.erase(entry);
  return waiter;
}

void StoreTable::cancel(WaiterId id, const base::Status& status) {
  const auto entry = waiters_.find(id);
  if (entry != waiters_.end()) {
    const Waiter waiter = take(entry);
    waiter.done(id, status);
  }
}

void StoreTable::cancel_all(const base::Status& status) {
  while (!waiters_.empty()) {
    cancel(waiters_.begin()->first, status);
  }
}

}  // namespace gamelan::dist
