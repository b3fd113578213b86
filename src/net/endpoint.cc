#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <system_error>

#include "net/socket.h"
#include "net/socket_address.h"

namespace gamelan::net {
namespace {

base::StatusOr<std::uint16_t> parse_port(std::string_view text, std::string_view whole) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > 65535) {
    return base::invalid_argument("endpoint '{}': expected a port from 0 to 65535, got '{}'", whole,
                                  text);
  }
  return static_cast<std::uint16_t>(value);
}

}  // namespace

std::string to_string(const Endpoint& endpoint) {
  const bool v6 = endpoint.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", endpoint.host, endpoint.port)
            : fmt::format("{}:{}", endpoint.host, endpoint.port);
}

base::StatusOr<Endpoint> parse_endpoint(std::string_view text, std::uint16_t default_port) {
  Endpoint endpoint;
  std::string_view rest;  // what follows the host: "" or ":port"
  if (!text.empty() && text.front() == '[') {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) {
      return base::invalid_argument("endpoint '{}': '[' without ']'", text);
    }
    endpoint.host = std::string(text.substr(1, close - 1));
    rest = text.substr(close + 1);
    if (endpoint.host.empty() || (!rest.empty() && rest.front() != ':')) {
      return base::invalid_argument("endpoint '{}': expected [address]:port", text);
    }
  } else {
    const std::size_t colon = text.find(':');
    if (colon != text.rfind(':')) {
      return base::invalid_argument(
          "endpoint '{}': write an IPv6 address in brackets, as [address]:port", text);
    }
    endpoint.host = std::string(text.substr(0, colon));
    rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (endpoint.host.find_first_of(" \t\r\n/@") != std::string::npos) {
    return base::invalid_argument("endpoint '{}': expected host:port", text);
  }
  if (rest.empty()) {
    if (endpoint.host.empty() || default_port == 0) {
      return base::invalid_argument("endpoint '{}': port number missing, expected host:port", text);
    }
    endpoint.port = default_port;
    return endpoint;
  }
  GAMELAN_ASSIGN_OR_RETURN(endpoint.port, parse_port(rest.substr(1), text));
  return endpoint;
}

base::StatusOr<Endpoint> endpoint_of(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return Endpoint{text, ntohs(v4.sin_port)};
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    // A dual-stack listener sees IPv4 peers as ::ffff:a.b.c.d; people know them as a.b.c.d.
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof(text));
    } else {
      ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    }
    return Endpoint{text, ntohs(v6.sin6_port)};
  }
  return base::invalid_argument("expected an IPv4 or IPv6 socket, got address family {}",
                                static_cast<int>(address.ss_family));
}

base::StatusOr<Endpoint> local_endpoint(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return base::errno_status(errno, "getsockname");
  }
  return endpoint_of(address);
}

base::StatusOr<Endpoint> peer_endpoint(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return base::errno_status(errno, "getpeername");
  }
  return endpoint_of(address);
}

std::string describe_peer(int socket) {
  const base::StatusOr<Endpoint> peer = peer_endpoint(socket);
  if (peer.ok()) {
    return to_string(*peer);
  }
  return local_endpoint(socket).ok() ? "a peer that has gone"
                                     : fmt::format("the local peer of socket {}", socket);
}

}  // namespace gamelan::net
