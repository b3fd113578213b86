#include "dist/store/store_connection.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "dist/store/store_protocol.h"
#include "dist/store/store_table.h"
#include "net/socket.h"

namespace gamelan::dist {
namespace {

// After n polls in vain the next 2^n calls sleep at once, up to 2^6: on a busy machine polling then
// costs under 1 us a call, and a machine that gets quiet is noticed within 64 calls.
constexpr unsigned kMostFailedSpins = 6;
// SO_RCVTIMEO is set anew only when it is off by more than this: a call less for nearly every
// request.
constexpr std::chrono::milliseconds kTimeoutSlack{50};
constexpr std::chrono::milliseconds kLongestSleep{std::chrono::hours(24)};

}  // namespace

StoreConnection::StoreConnection(base::Fd socket, std::chrono::microseconds spin)
    : socket_(std::move(socket)), spin_(spin), reader_(kStoreFrames) {}

void StoreConnection::shut_down() {
  ::shutdown(socket_.get(), SHUT_RDWR);
}

base::StatusOr<StoreReply> StoreConnection::round_trip(const StoreRequest& request,
                                                       std::uint32_t timeout_ms,
                                                       base::TimePoint deadline) {
  const std::uint32_t id = ++last_id_;
  encode_request(request, timeout_ms, id, request_frame_);
  healthy_ = false;  // until the reply is here
  GAMELAN_RETURN_IF_ERROR(net::send_all(
      socket_.get(), std::as_bytes(std::span(request_frame_.data(), request_frame_.size())),
      deadline));
  // A request that waits for others says nothing about how fast the server is: it does not poll.
  return receive_reply(id, deadline, !waits(request.op));
}

base::StatusOr<StoreReply> StoreConnection::receive_reply(std::uint32_t id,
                                                          base::TimePoint deadline, bool spin) {
  while (true) {
    GAMELAN_ASSIGN_OR_RETURN(const std::size_t count,
                             receive_some(reader_.space(), deadline, std::exchange(spin, false)));
    reader_.commit(count);
    GAMELAN_ASSIGN_OR_RETURN(const std::optional<net::Frame> frame, reader_.next());
    if (!frame.has_value()) {
      continue;
    }
    if (frame->header.id != id || !reader_.buffered().empty()) {
      return base::data_loss("expected the reply to request {} alone, got one to {}", id,
                             frame->header.id);
    }
    if (frame->header.kind != kReplyKind && frame->header.kind != kErrorKind) {
      return base::data_loss("expected a reply, got a frame of kind {}", frame->header.kind);
    }
    healthy_ = true;
    return decode_reply(frame->header.kind, frame->body);
  }
}

bool StoreConnection::spin_for_bytes(std::span<std::byte> space, ssize_t* received) {
  if (spin_.count() == 0) {
    return false;
  }
  if (calls_without_spin_ > 0) {
    --calls_without_spin_;
    return false;
  }
  const base::TimePoint end = base::Clock::now() + spin_;
  do {
    *received = ::recv(socket_.get(), space.data(), space.size(), MSG_DONTWAIT);
    if (*received >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
      failed_spins_ = 0;
      return true;
    }
  } while (base::Clock::now() < end);
  failed_spins_ = std::min(failed_spins_ + 1, kMostFailedSpins);
  calls_without_spin_ = 1U << failed_spins_;
  return false;
}

base::StatusOr<std::size_t> StoreConnection::receive_some(std::span<std::byte> space,
                                                          base::TimePoint deadline, bool spin) {
  ssize_t received = -1;
  bool done = spin && spin_for_bytes(space, &received);
  while (true) {
    if (!done) {
      GAMELAN_RETURN_IF_ERROR(set_receive_timeout(deadline));
      received = ::recv(socket_.get(), space.data(), space.size(), 0);
    }
    done = false;
    if (received > 0) {
      return static_cast<std::size_t>(received);
    }
    if (received == 0) {
      return base::unavailable("the server closed the connection");
    }
    if (errno == ETIMEDOUT) {
      return base::unavailable("the server's host does not answer");
    }
    // A signal or the socket's own time-out: again, while there is time.
    if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) {
      return base::errno_status(errno, "recv");
    }
  }
}

base::Status StoreConnection::set_receive_timeout(base::TimePoint deadline) {
  std::chrono::milliseconds left = kLongestSleep;
  if (deadline != base::TimePoint::max()) {
    left =
        std::min(left, std::chrono::ceil<std::chrono::milliseconds>(deadline - base::Clock::now()));
  }
  if (left.count() <= 0) {
    return base::deadline_exceeded("no reply in time");
  }
  if (receive_timeout_.count() > 0 && receive_timeout_ <= left &&
      left - receive_timeout_ <= kTimeoutSlack) {
    return base::OkStatus();  // it may end a little early: the caller then waits again
  }
  const timeval value{left.count() / 1000, (left.count() % 1000) * 1000};
  if (::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &value, sizeof(value)) != 0) {
    return base::errno_status(errno, "setsockopt SO_RCVTIMEO");
  }
  receive_timeout_ = left;
  return base::OkStatus();
}

}  // namespace gamelan::dist
