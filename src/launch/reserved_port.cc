#include "launch/reserved_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

namespace gamelan::launch {

base::StatusOr<ReservedPort> reserve_port() {
  ReservedPort reserved;
  // An IPv6 any-address socket covers IPv4 too; hosts without IPv6 get an IPv4 one.
  sockaddr_in6 any6{};
  any6.sin6_family = AF_INET6;
  sockaddr_in any4{};
  any4.sin_family = AF_INET;
  const int on = 1;
  reserved.socket = base::Fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  setsockopt(reserved.socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (!reserved.socket.valid() ||
      bind(reserved.socket.get(), reinterpret_cast<sockaddr*>(&any6), sizeof(any6)) != 0) {
    reserved.socket = base::Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    setsockopt(reserved.socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (!reserved.socket.valid() ||
        bind(reserved.socket.get(), reinterpret_cast<sockaddr*>(&any4), sizeof(any4)) != 0) {
      return base::errno_status(errno, "find a free port");
    }
  }
  sockaddr_in6 bound{};
  socklen_t size = sizeof(bound);
  if (getsockname(reserved.socket.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return base::errno_status(errno, "getsockname");
  }
  // The port lies at the same place in sockaddr_in and sockaddr_in6.
  reserved.port = ntohs(bound.sin6_port);
  return reserved;
}

}  // namespace gamelan::launch
