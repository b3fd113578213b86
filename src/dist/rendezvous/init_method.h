#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "net/socket.h"

namespace gamelan::dist {

/// What an init method and the environment say about a job.
struct MeetingPoint {
  /// Where the store is.
  net::Endpoint master;
  /// The agent hosts the store (GAMELAN_STORE, or TORCHELASTIC_USE_AGENT_STORE=True at the master's
  /// address).
  bool agent_store = false;
  int rank = 0;
  int world_size = 1;
};

/// Reads "env://" and "tcp://host:port", each with optional ?rank=&world_size=. `rank` and
/// `world_size`, when not negative, are the caller's; a method that gives them as well is refused.
/// The errors are torch's.
base::StatusOr<MeetingPoint> parse_init_method(std::string_view method, int rank, int world_size);

}  // namespace gamelan::dist
