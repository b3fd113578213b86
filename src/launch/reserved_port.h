#pragma once

#include <cstdint>

#include "base/fd.h"
#include "base/status.h"

namespace gamelan::launch {

/// A free TCP port, kept for a program that will listen on it: a socket bound with SO_REUSEADDR
/// that never listens. While it lives the system gives the port to no connection and no other
/// reservation, and a program that sets SO_REUSEADDR, as every store and server of note does, can
/// listen on it.
struct ReservedPort {
  base::Fd socket;
  std::uint16_t port = 0;
};

base::StatusOr<ReservedPort> reserve_port();

}  // namespace gamelan::launch
