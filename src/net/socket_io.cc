#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/socket.h"
#include "net/socket_address.h"

namespace gamelan::net {
namespace {

/// Waits until `socket` is ready for `events`.
base::Status wait_ready(int socket, short events, base::TimePoint deadline, int cancel_fd,
                        std::string_view what) {
  while (true) {
    // poll(2) skips negative descriptors.
    pollfd waiting[2] = {{socket, events, 0}, {cancel_fd, POLLIN, 0}};
    const int ready = ::poll(waiting, 2, base::poll_timeout(deadline));
    if (ready < 0) {
      if (errno == EINTR) {
        continue;
      }
      return base::errno_status(errno, "poll");
    }
    if (waiting[1].revents != 0) {
      return base::aborted("{} {} was cancelled", what, describe_peer(socket));
    }
    if (ready == 0) {
      return base::deadline_exceeded("{} {}: time ran out", what, describe_peer(socket));
    }
    return base::OkStatus();
  }
}

base::Status io_error(int error, std::string_view what, int socket) {
  if (error == EPIPE || error == ECONNRESET) {
    return base::unavailable("{} {}: connection closed by the peer", what, describe_peer(socket));
  }
  if (error == ETIMEDOUT) {
    // Not a deadline of ours: the kernel's probes found nobody.
    return base::unavailable("{} {}: the peer's host does not answer", what, describe_peer(socket));
  }
  return base::errno_status(error, "{} {}", what, describe_peer(socket));
}

union FdControl {
  cmsghdr header;  // aligns the buffer
  // Room for more than the one expected descriptor, so that surplus ones are seen and closed.
  char bytes[CMSG_SPACE(4 * sizeof(int))];
};

/// Takes the first descriptor of a received message and closes any other.
base::Fd take_fd(msghdr* message) {
  base::Fd result;
  for (cmsghdr* part = CMSG_FIRSTHDR(message); part != nullptr; part = CMSG_NXTHDR(message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      base::Fd owned(fd);
      if (!result.valid()) {
        result = std::move(owned);
      }
    }
  }
  return result;
}

}  // namespace

base::Status send_all(int socket, std::span<const std::byte> bytes, base::TimePoint deadline,
                      int cancel_fd) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      GAMELAN_RETURN_IF_ERROR(wait_ready(socket, POLLOUT, deadline, cancel_fd, "sending to"));
    } else if (errno != EINTR) {
      return io_error(errno, "sending to", socket);
    }
  }
  return base::OkStatus();
}

base::Status recv_all(int socket, std::span<std::byte> bytes, base::TimePoint deadline,
                      int cancel_fd) {
  while (!bytes.empty()) {
    const ssize_t received = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (received > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(received));
    } else if (received == 0) {
      return io_error(ECONNRESET, "receiving from", socket);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      GAMELAN_RETURN_IF_ERROR(wait_ready(socket, POLLIN, deadline, cancel_fd, "receiving from"));
    } else if (errno != EINTR) {
      return io_error(errno, "receiving from", socket);
    }
  }
  return base::OkStatus();
}

base::Status send_fd(int unix_socket, int fd, base::TimePoint deadline) {
  char payload = 'F';
  iovec data{&payload, 1};
  FdControl control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(sizeof(int));
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(part), &fd, sizeof(int));
  while (::sendmsg(unix_socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      GAMELAN_RETURN_IF_ERROR(
          wait_ready(unix_socket, POLLOUT, deadline, -1, "passing a descriptor to"));
    } else if (errno != EINTR) {
      return io_error(errno, "passing a descriptor to", unix_socket);
    }
  }
  return base::OkStatus();
}

base::StatusOr<base::Fd> recv_fd(int unix_socket, base::TimePoint deadline) {
  while (true) {
    char payload = 0;
    iovec data{&payload, 1};
    FdControl control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof(control.bytes);
    const ssize_t received = ::recvmsg(unix_socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (received == 1) {
      base::Fd fd = take_fd(&message);
      if (!fd.valid()) {
        return base::data_loss("expected a descriptor from {}, got a plain byte {}",
                               describe_peer(unix_socket), static_cast<int>(payload));
      }
      return fd;
    }
    if (received == 0) {
      return io_error(ECONNRESET, "receiving a descriptor from", unix_socket);
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      GAMELAN_RETURN_IF_ERROR(
          wait_ready(unix_socket, POLLIN, deadline, -1, "receiving a descriptor from"));
    } else if (errno != EINTR) {
      return io_error(errno, "receiving a descriptor from", unix_socket);
    }
  }
}

}  // namespace gamelan::net
