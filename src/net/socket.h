#pragma once

// Blocking sockets with deadlines: what threads that wait for one peer use. Sockets of an event
// loop are in event_loop.h. All functions are thread-safe for different descriptors, ignore EINTR,
// never raise SIGPIPE, and set TCP_NODELAY and close-on-exec. Errors name the address; kUnavailable
// means the other side is gone or not there yet, kDeadlineExceeded that time ran out.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/fd.h"
#include "base/status.h"

namespace gamelan::net {

struct Endpoint {
  std::string host;  ///< name, IPv4 or IPv6 address (without brackets); empty = any address
  std::uint16_t port = 0;
  bool operator==(const Endpoint&) const = default;
};

/// "host:port" or "[v6]:port".
std::string to_string(const Endpoint& endpoint);
/// Parses "host:port", "[v6]:port", ":port" and (with `default_port` not 0) "host".
base::StatusOr<Endpoint> parse_endpoint(std::string_view text, std::uint16_t default_port = 0);

/// Listens; port 0 picks a free one (see local_endpoint). The backlog is the system's maximum. A
/// port in use is kAlreadyExists, and the message says so.
base::StatusOr<base::Fd> listen_tcp(const Endpoint& endpoint);
/// Listens on an abstract Unix socket: no file, gone with the last descriptor.
base::StatusOr<base::Fd> listen_unix(std::string_view abstract_name);

/// Connects, trying every address of the name; while refused or unreachable it tries again with a
/// growing pause (1 ms … 250 ms) until `deadline`.
base::StatusOr<base::Fd> connect_tcp(const Endpoint& endpoint, base::TimePoint deadline);
/// The same without trying again: kUnavailable when nobody listens there.
base::StatusOr<base::Fd> connect_tcp_once(const Endpoint& endpoint, base::TimePoint deadline);
/// One attempt; kUnavailable when nobody listens under that name on this host.
base::StatusOr<base::Fd> connect_unix(std::string_view abstract_name);
base::StatusOr<base::Fd> accept(int listener, base::TimePoint deadline);

base::StatusOr<Endpoint> local_endpoint(int socket);
base::StatusOr<Endpoint> peer_endpoint(int socket);
/// The local address that packets to `endpoint` leave from: what other hosts can reach us at.
base::StatusOr<std::string> source_address_towards(const Endpoint& endpoint);

/// Sends or receives exactly `bytes`. `cancel_fd`, when not -1, ends the wait with kAborted as soon
/// as it becomes readable (an eventfd that some other thread writes).
base::Status send_all(int socket, std::span<const std::byte> bytes, base::TimePoint deadline,
                      int cancel_fd = -1);
base::Status recv_all(int socket, std::span<std::byte> bytes, base::TimePoint deadline,
                      int cancel_fd = -1);

/// Passes an open descriptor with one byte of payload over a Unix socket.
base::Status send_fd(int unix_socket, int fd, base::TimePoint deadline);
base::StatusOr<base::Fd> recv_fd(int unix_socket, base::TimePoint deadline);

}  // namespace gamelan::net
