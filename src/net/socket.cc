#include "net/socket.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "base/log.h"
#include "net/resolve.h"
#include "net/socket_address.h"

namespace gamelan::net {
namespace {

constexpr std::chrono::milliseconds kFirstPause{1};
constexpr std::chrono::milliseconds kLongestPause{250};
constexpr std::chrono::seconds kProgressEvery{5};
// An address that swallows packets must not use up the time of the name's other addresses.
constexpr std::chrono::seconds kLongestAttempt{5};
// Of calls that have no deadline of their own: twice the resolver's usual time for a lost packet.
constexpr std::chrono::seconds kLongestLookup{10};

base::Status listen_error(const Endpoint& endpoint, const char* call, int error) {
  if (error == EADDRINUSE) {
    return base::make_status(base::StatusCode::kAlreadyExists,
                             "cannot listen on {}: the port is in use by another process; choose "
                             "another one (0 = any free port)",
                             to_string(endpoint));
  }
  return base::errno_status(error, "cannot listen on {}: {}", to_string(endpoint), call);
}

base::StatusOr<base::Fd> listen_on(const addrinfo& address, const Endpoint& endpoint) {
  base::Fd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return listen_error(endpoint, "socket", errno);
  }
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.ai_family == AF_INET6) {
    // The any-address serves IPv4 too; a particular IPv6 address is not affected by this.
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0) {
    return listen_error(endpoint, "bind", errno);
  }
  if (::listen(fd.get(), INT_MAX) != 0) {
    return listen_error(endpoint, "listen", errno);
  }
  return fd;
}

base::Status set_blocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0) {
    return base::errno_status(errno, "fcntl");
  }
  return base::OkStatus();
}

/// Whether a socket is connected to itself: what the kernel makes of a connection from a port it
/// just picked to that same port when nobody listens there.
bool connected_to_itself(int fd) {
  const base::StatusOr<Endpoint> local = local_endpoint(fd);
  const base::StatusOr<Endpoint> peer = peer_endpoint(fd);
  return local.ok() && peer.ok() && *local == *peer;
}

/// One attempt at one address.
base::StatusOr<base::Fd> connect_once(const addrinfo& address, base::TimePoint deadline) {
  base::Fd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return base::errno_status(errno, "socket");
  }
  int error = ::connect(fd.get(), address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS || error == EINTR) {
    pollfd waiting{fd.get(), POLLOUT, 0};
    int ready = 0;
    do {
      ready = ::poll(&waiting, 1, base::poll_timeout(deadline));
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) {
      return base::errno_status(ETIMEDOUT, "no answer");
    }
    socklen_t length = sizeof(error);
    if (ready < 0 || ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
      error = errno;
    }
  }
  if (error != 0) {
    return base::errno_status(error, "connect");
  }
  if (connected_to_itself(fd.get())) {
    return base::errno_status(ECONNREFUSED, "connect");
  }
  GAMELAN_RETURN_IF_ERROR(set_blocking(fd.get()));
  tune_connection(fd.get());
  return fd;
}

/// One attempt at every address of the name.
base::StatusOr<base::Fd> connect_any(const Endpoint& endpoint, base::TimePoint deadline) {
  GAMELAN_ASSIGN_OR_RETURN(const AddressList list, resolve(endpoint, {.deadline = deadline}));
  base::Status last = base::unavailable("the name has no address");
  for (const addrinfo* address = list.get(); address != nullptr; address = address->ai_next) {
    base::StatusOr<base::Fd> fd =
        connect_once(*address, std::min(deadline, base::deadline_after(kLongestAttempt)));
    if (fd.ok()) {
      return fd;
    }
    last = std::move(fd).status();
  }
  return last;
}

base::StatusOr<sockaddr_un> abstract_address(std::string_view name, socklen_t* length) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // The first byte of an abstract name is 0.
  if (name.empty() || name.size() > sizeof(address.sun_path) - 1) {
    return base::invalid_argument("expected a Unix socket name of 1 to {} bytes, got {} bytes",
                                  sizeof(address.sun_path) - 1, name.size());
  }
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  *length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

}  // namespace

void tune_connection(int socket) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  if (::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 ||
      (domain != AF_INET && domain != AF_INET6)) {
    return;
  }
  const auto set = [socket](int level, int option, int value) {
    ::setsockopt(socket, level, option, &value, sizeof(value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  // 10 s of silence, then 3 probes 5 s apart.
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

base::StatusOr<base::Fd> listen_tcp(const Endpoint& endpoint) {
  if (endpoint.host.empty()) {
    // One dual-stack socket; hosts without IPv6 fall through to the IPv4 any-address.
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_port = htons(endpoint.port);
    addrinfo address{};
    address.ai_family = AF_INET6;
    address.ai_addr = reinterpret_cast<sockaddr*>(&any);
    address.ai_addrlen = sizeof(any);
    base::StatusOr<base::Fd> fd = listen_on(address, endpoint);
    if (fd.ok() || fd.status().code() == base::StatusCode::kAlreadyExists) {
      return fd;
    }
  }
  GAMELAN_ASSIGN_OR_RETURN(
      const AddressList list,
      resolve(endpoint, {.to_listen = true, .deadline = base::deadline_after(kLongestLookup)}));
  base::Status first;
  for (const addrinfo* address = list.get(); address != nullptr; address = address->ai_next) {
    base::StatusOr<base::Fd> fd = listen_on(*address, endpoint);
    if (fd.ok()) {
      return fd;
    }
    if (first.ok()) {
      first = std::move(fd).status();
    }
  }
  return first;
}

base::StatusOr<base::Fd> listen_unix(std::string_view abstract_name) {
  socklen_t length = 0;
  GAMELAN_ASSIGN_OR_RETURN(const sockaddr_un address, abstract_address(abstract_name, &length));
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return base::errno_status(errno, "socket");
  }
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      ::listen(fd.get(), INT_MAX) != 0) {
    return base::errno_status(errno, "cannot listen on Unix socket '@{}'", abstract_name);
  }
  return fd;
}

base::StatusOr<base::Fd> connect_tcp(const Endpoint& endpoint, base::TimePoint deadline) {
  const base::TimePoint start = base::Clock::now();
  base::TimePoint next_progress = start + kProgressEvery;
  std::chrono::milliseconds pause = kFirstPause;
  while (true) {
    base::StatusOr<base::Fd> fd = connect_any(endpoint, deadline);
    if (fd.ok()) {
      return fd;
    }
    const base::TimePoint now = base::Clock::now();
    if (now >= deadline) {
      return base::deadline_exceeded("cannot connect to {} within {:.1f} s: {}",
                                     to_string(endpoint), base::seconds(now - start),
                                     base::message(fd.status()));
    }
    if (fd.status().code() == base::StatusCode::kResourceExhausted ||
        fd.status().code() == base::StatusCode::kInvalidArgument) {
      return base::annotate(fd.status(), fmt::format("cannot connect to {}", to_string(endpoint)));
    }
    if (now >= next_progress) {
      base::log().info("still trying to connect to {} after {:.0f} s: {}", to_string(endpoint),
                       base::seconds(now - start), base::message(fd.status()));
      next_progress = now + kProgressEvery;
    }
    // A poll of nothing is a sleep that the deadline can shorten.
    const int left = base::poll_timeout(deadline);
    const int wait = static_cast<int>(pause.count());
    ::poll(nullptr, 0, left < 0 ? wait : std::min(wait, left));
    pause = std::min(pause * 2, kLongestPause);
  }
}

base::StatusOr<base::Fd> connect_tcp_once(const Endpoint& endpoint, base::TimePoint deadline) {
  base::StatusOr<base::Fd> fd = connect_any(endpoint, deadline);
  return fd.ok() ? std::move(fd)
                 : base::annotate(fd.status(),
                                  fmt::format("cannot connect to {}", to_string(endpoint)));
}

base::StatusOr<base::Fd> connect_unix(std::string_view abstract_name) {
  socklen_t length = 0;
  GAMELAN_ASSIGN_OR_RETURN(const sockaddr_un address, abstract_address(abstract_name, &length));
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return base::errno_status(errno, "socket");
  }
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return base::errno_status(errno, "connect to Unix socket '@{}'", abstract_name);
  }
  GAMELAN_RETURN_IF_ERROR(set_blocking(fd.get()));
  return fd;
}

base::StatusOr<base::Fd> accept(int listener, base::TimePoint deadline) {
  while (true) {
    base::Fd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (fd.valid()) {
      tune_connection(fd.get());
      return fd;
    }
    switch (errno) {
      case EINTR:
      case ECONNABORTED:
      case EPROTO:
        continue;
      case EAGAIN:
        break;
      default:
        return base::errno_status(errno, "accept");
    }
    pollfd waiting{listener, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, base::poll_timeout(deadline));
    if (ready < 0 && errno != EINTR) {
      return base::errno_status(errno, "poll");
    }
    if (ready == 0) {
      const base::StatusOr<Endpoint> local = local_endpoint(listener);
      return base::deadline_exceeded("nobody has connected to {} in time",
                                     local.ok() ? to_string(*local) : "the Unix socket");
    }
  }
}

base::StatusOr<std::string> source_address_towards(const Endpoint& endpoint) {
  // Connecting a datagram socket sends nothing; it makes the kernel choose a route.
  Endpoint target = endpoint;
  target.port = endpoint.port == 0 ? 1 : endpoint.port;
  GAMELAN_ASSIGN_OR_RETURN(const AddressList list,
                           resolve(target, {.deadline = base::deadline_after(kLongestLookup)}));
  base::Status last = base::unavailable("no route to {}", to_string(endpoint));
  for (const addrinfo* address = list.get(); address != nullptr; address = address->ai_next) {
    const base::Fd fd(::socket(address->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd.valid() && ::connect(fd.get(), address->ai_addr, address->ai_addrlen) == 0) {
      GAMELAN_ASSIGN_OR_RETURN(Endpoint local, local_endpoint(fd.get()));
      return std::move(local.host);
    }
    last = base::errno_status(errno, "no route to {}", to_string(endpoint));
  }
  return last;
}

}  // namespace gamelan::net
