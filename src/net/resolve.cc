#include "net/resolve.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>
#include <string>
#include <thread>
#include <utility>

namespace gamelan::net {
namespace {

constexpr std::chrono::milliseconds kShortestLookup{100};

struct Lookup {
  int error = 0;
  int error_number = 0;  // errno, for EAI_SYSTEM
  AddressList list{nullptr, &::freeaddrinfo};
};

Lookup look_up(const Endpoint& endpoint, addrinfo hints) {
  Lookup lookup;
  // Without a host the answer is the loopback address, or with AI_PASSIVE every address.
  const bool local = endpoint.host == "localhost";
  if (local) {
    hints.ai_flags &= ~AI_PASSIVE;
    hints.ai_family = AF_INET;
  }
  const char* host = endpoint.host.empty() || local ? nullptr : endpoint.host.c_str();
  const std::string port = std::to_string(endpoint.port);
  addrinfo* list = nullptr;
  lookup.error = ::getaddrinfo(host, port.c_str(), &hints, &list);
  lookup.error_number = errno;
  lookup.list.reset(list);
  return lookup;
}

base::StatusOr<AddressList> answer_of(Lookup lookup, const Endpoint& endpoint) {
  if (lookup.error != 0) {
    return base::unavailable("cannot find the address of '{}': {}", endpoint.host,
                             lookup.error == EAI_SYSTEM ? std::strerror(lookup.error_number)
                                                        : ::gai_strerror(lookup.error));
  }
  return std::move(lookup.list);
}

}  // namespace

base::StatusOr<AddressList> resolve(const Endpoint& endpoint, const ResolveOptions& options) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | AI_NUMERICHOST | (options.to_listen ? AI_PASSIVE : 0);
  Lookup at_once = look_up(endpoint, hints);
  if (at_once.error != EAI_NONAME) {
    return answer_of(std::move(at_once), endpoint);
  }
  // A name. Nothing interrupts getaddrinfo: past the deadline its thread is left to end by itself.
  hints.ai_flags &= ~AI_NUMERICHOST;
  std::promise<Lookup> promise;
  std::future<Lookup> answer = promise.get_future();
  std::thread([endpoint, hints, promise = std::move(promise)]() mutable {
    promise.set_value(look_up(endpoint, hints));
  }).detach();
  const base::TimePoint deadline =
      std::max(options.deadline, base::deadline_after(kShortestLookup));
  if (options.deadline == base::TimePoint::max()) {
    answer.wait();
  } else if (answer.wait_until(deadline) != std::future_status::ready) {
    return base::unavailable(
        "cannot find the address of '{}': the resolver has not answered in time", endpoint.host);
  }
  return answer_of(answer.get(), endpoint);
}

}  // namespace gamelan::net
