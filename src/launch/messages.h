#pragma once

// What agents say to node 0's agent and back. On the wire a frame is u32 length of the rest, u8
// type, fields; integers little-endian, strings and lists with a u32 length in front
// (docs/launch.md has the table).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "launch/failure.h"

namespace gamelan::launch {

inline constexpr std::uint32_t kAgentProtocolVersion = 1;
inline constexpr std::size_t kMaxFrameBytes = 1 << 20;

/// Agent: I want to take part.
struct Join {
  std::uint32_t version = kAgentProtocolVersion;
  std::string run_id;
  std::int32_t nnodes = 0;
  std::int32_t node_rank = -1;  ///< -1 = any
  std::int32_t nproc = 0;
  std::string host;
  std::int64_t pid = 0;
  std::string address;  ///< --local-addr, else empty
};
/// Node 0: you are in, under this rank.
struct Welcome {
  std::int32_t node_rank = 0;
};
/// Node 0: you cannot take part; the connection closes.
struct Refused {
  std::string reason;
};
/// Node 0: these nodes have not joined (text for people); empty when all have.
struct Missing {
  std::string nodes;
};
/// Node 0: start the workers of an attempt.
struct Start {
  std::int32_t attempt = 0;
  std::int32_t first_rank = 0;
  std::int32_t world_size = 0;
  std::int32_t group_world_size = 0;
  std::string master_addr;
  std::int32_t master_port = 0;
  std::string store;  ///< host:port, empty = none
};
/// Agent: all my workers of this attempt have ended well.
struct Succeeded {
  std::int32_t attempt = 0;
};
/// Agent: a worker of this attempt has failed.
struct Failed {
  std::int32_t attempt = 0;
  std::vector<Failure> failures;
};
/// Node 0: end your workers of this attempt.
struct Stop {
  std::int32_t attempt = 0;
  std::string reason;
};
/// Agent: none of my workers of this attempt is left.
struct Stopped {
  std::int32_t attempt = 0;
};
/// Agent: somebody ended me with this signal; the job is over.
struct Leaving {
  std::int32_t signal = 0;
};
/// Node 0: the job is over.
struct Finish {
  std::int32_t exit_code = 0;
  std::string headline;
  std::vector<Failure> failures;
};
/// Either: I am alive.
struct Ping {};

/// The type on the wire is the index: append only.
using Message = std::variant<Join, Welcome, Refused, Missing, Start, Succeeded, Failed, Stop,
                             Stopped, Leaving, Finish, Ping>;

/// The whole frame.
std::string encode(const Message& message);
/// A frame without its length; kDataLoss for anything malformed.
base::StatusOr<Message> decode(std::span<const std::byte> body);

}  // namespace gamelan::launch
