#pragma once

// Socket addresses as the system has them: for the sources of net/ only.

#include <arpa/inet.h>
#include <sys/socket.h>

#include <string>

#include "base/status.h"
#include "net/socket.h"

namespace gamelan::net {

/// kInvalidArgument for other families than IPv4 and IPv6.
base::StatusOr<Endpoint> endpoint_of(const sockaddr_storage& address);

/// Who is at the other end, for messages: "10.0.0.1:4711", or words for a Unix socket or a closed
/// one.
std::string describe_peer(int socket);

/// What every TCP connection gets: no Nagle delay, and keep-alive probes, so that a host that
/// vanished without a word is noticed within half a minute. Does nothing to other sockets.
void tune_connection(int socket);

}  // namespace gamelan::net
