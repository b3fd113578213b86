#include "dist/store/store.h"

#include <utility>

namespace gamelan::dist {
namespace {

StoreRequest request_of(StoreOp op, std::string_view key) {
  StoreRequest request;
  request.op = op;
  request.keys.emplace_back(key);
  return request;
}

}  // namespace

base::Status Store::set(std::string_view key, std::string_view value) {
  StoreRequest request = request_of(StoreOp::kSet, key);
  request.values.emplace_back(value);
  return execute(request, {}).status();
}

base::StatusOr<std::string> Store::get(std::string_view key, std::chrono::milliseconds timeout) {
  GAMELAN_ASSIGN_OR_RETURN(StoreReply reply, execute(request_of(StoreOp::kGet, key), timeout));
  GAMELAN_CHECK(reply.values.size() == 1, "get of one key gave {} values", reply.values.size());
  return std::move(reply.values[0]);
}

base::StatusOr<std::int64_t> Store::add(std::string_view key, std::int64_t delta) {
  StoreRequest request = request_of(StoreOp::kAdd, key);
  request.delta = delta;
  GAMELAN_ASSIGN_OR_RETURN(const StoreReply reply, execute(request, {}));
  return reply.number;
}

base::Status Store::wait(const std::vector<std::string>& keys, std::chrono::milliseconds timeout) {
  StoreRequest request;
  request.op = StoreOp::kWait;
  request.keys = keys;
  return execute(request, timeout).status();
}

base::StatusOr<bool> Store::check(const std::vector<std::string>& keys) {
  StoreRequest request;
  request.op = StoreOp::kCheck;
  request.keys = keys;
  GAMELAN_ASSIGN_OR_RETURN(const StoreReply reply, execute(request, {}));
  return reply.number != 0;
}

base::StatusOr<std::string> Store::compare_set(std::string_view key, std::string_view expected,
                                               std::string_view desired) {
  StoreRequest request = request_of(StoreOp::kCompareSet, key);
  request.values.emplace_back(expected);
  request.values.emplace_back(desired);
  GAMELAN_ASSIGN_OR_RETURN(StoreReply reply, execute(request, {}));
  GAMELAN_CHECK(reply.values.size() == 1, "compare_set gave {} values", reply.values.size());
  return std::move(reply.values[0]);
}

base::StatusOr<bool> Store::delete_key(std::string_view key) {
  GAMELAN_ASSIGN_OR_RETURN(const StoreReply reply, execute(request_of(StoreOp::kDelete, key), {}));
  return reply.number != 0;
}

base::Status Store::append(std::string_view key, std::string_view suffix) {
  StoreRequest request = request_of(StoreOp::kAppend, key);
  request.values.emplace_back(suffix);
  return execute(request, {}).status();
}

base::StatusOr<std::vector<std::string>> Store::multi_get(const std::vector<std::string>& keys,
                                                          std::chrono::milliseconds timeout) {
  StoreRequest request;
  request.op = StoreOp::kMultiGet;
  request.keys = keys;
  GAMELAN_ASSIGN_OR_RETURN(StoreReply reply, execute(request, timeout));
  return std::move(reply.values);
}

base::Status Store::multi_set(const std::vector<std::string>& keys,
                              const std::vector<std::string>& values) {
  if (keys.size() != values.size()) {
    return base::invalid_argument("multi_set expects one value a key, got {} keys and {} values",
                                  keys.size(), values.size());
  }
  StoreRequest request;
  request.op = StoreOp::kMultiSet;
  request.keys = keys;
  request.values = values;
  return execute(request, {}).status();
}

base::StatusOr<std::int64_t> Store::num_keys() {
  StoreRequest request;
  request.op = StoreOp::kNumKeys;
  GAMELAN_ASSIGN_OR_RETURN(const StoreReply reply, execute(request, {}));
  return reply.number;
}

}  // namespace gamelan::dist
