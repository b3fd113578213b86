#pragma once

#include <netdb.h>

#include <memory>

#include "base/clock.h"
#include "base/status.h"
#include "net/socket.h"

namespace gamelan::net {

/// What getaddrinfo returns.
using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

struct ResolveOptions {
  /// For a listener: an empty host means every address.
  bool to_listen = false;
  /// When to give up on the resolver, whose own time-outs add up to half a minute. A name is given
  /// at least 100 ms.
  base::TimePoint deadline;
};

/// The stream addresses of a host. Numbers and "localhost", which is this machine whatever a name
/// server says (RFC 6761), are answered without asking anybody. kUnavailable for a name without
/// addresses and at the deadline.
base::StatusOr<AddressList> resolve(const Endpoint& endpoint, const ResolveOptions& options);

}  // namespace gamelan::net
