#include "dist/transport/control_plane.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace gamelan::dist {
namespace {

constexpr std::uint64_t kWakeEvent = UINT64_MAX;
// Read from one peer before the others get their turn.
constexpr int kReadsPerTurn = 32;
// Descriptors that may wait for their frame: a peer sends each with the frame it belongs to.
constexpr std::size_t kMaxPendingFds = 16;

}  // namespace

/// The frame that is being read.
struct ControlPlane::Input {
  std::array<std::byte, kFrameHeaderBytes> head{};
  std::size_t head_bytes = 0;
  FrameHeader header;
  std::vector<std::byte> payload;
  std::byte* target = nullptr;  ///< payload.data(), scratch or memory of a receiver
  std::size_t target_bytes = 0;
  std::size_t received = 0;
  bool placed = false;  ///< target belongs to a receiver
};

struct ControlPlane::Peer {
  explicit Peer(int fd) : socket(fd), output(fd) {}
  int socket;
  ControlOutput output;
  Input input;
  std::deque<base::Fd> fds;
  base::TimePoint heard = base::Clock::now();
  bool lost = false;
  bool acknowledged = false;       ///< answered our goodbye: sends nothing any more
  std::atomic<bool> muted{false};  ///< said goodbye: gets nothing any more but our answer
};

ControlPlane::ControlPlane(const std::vector<int>& sockets, Options options, Handler& handler)
    : options_(options),
      handler_(handler),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      scratch_(kMaxFramePayloadBytes),
      next_beat_(base::Clock::now() + options.heartbeat),
      last_turn_(base::Clock::now()) {
  GAMELAN_CHECK(epoll_.valid() && wake_.valid(), "a process can open epoll (errno {})", errno);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeEvent;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  for (std::size_t rank = 0; rank < sockets.size(); ++rank) {
    peers_.push_back(sockets[rank] < 0 ? nullptr : std::make_unique<Peer>(sockets[rank]));
    if (peers_.back()) {
      event.data.u64 = rank;
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, sockets[rank], &event);
    }
  }
}

ControlPlane::~ControlPlane() {
  close();
  join();
}

void ControlPlane::start() {
  thread_ = std::thread([this] { loop(); });
}

void ControlPlane::send(int rank, const FrameHeader& header, std::string payload, int fd) {
  Peer* const peer = peers_[static_cast<std::size_t>(rank)].get();
  // Whoever has said goodbye has stopped reading after our answer to it.
  if (peer == nullptr || (peer->muted.load() && header.type != FrameType::kGoodbyeAck)) {
    return;
  }
  peer->output.add(header, std::move(payload), fd);
  if (peer->output.flush()) {
    watch(rank, true);
  }
}

void ControlPlane::send_parts(int rank, std::uint64_t number, const std::byte* data,
                              std::size_t bytes, SendDone done) {
  Peer& peer = *peers_[static_cast<std::size_t>(rank)];
  peer.output.add_parts(number, data, bytes, std::move(done));
  if (peer.output.flush()) {
    watch(rank, true);
  }
}

void ControlPlane::cancel_parts(const base::Status& reason) {
  for (const auto& peer : peers_) {
    if (!peer) {
      continue;
    }
    peer->output.cancel_parts(reason);
    Input& input = peer->input;
    if (input.placed) {
      input.placed = false;
      input.target = scratch_.data();
    }
  }
}

void ControlPlane::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
}

void ControlPlane::close(std::chrono::milliseconds linger) {
  if (!closing_.load()) {
    close_by_.store(base::Clock::now() + linger);
    closing_.store(true);
    wake();
  }
}

void ControlPlane::join() {
  if (thread_.joinable()) {
    thread_.join();
  }
}

void ControlPlane::watch(int rank, bool writable) {
  epoll_event event{};
  event.events = EPOLLIN | (writable ? EPOLLOUT : 0U);
  event.data.u64 = static_cast<std::uint64_t>(rank);
  // Fails harmlessly for a connection that the loop has already dropped.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, peers_[static_cast<std::size_t>(rank)]->socket, &event);
}

bool ControlPlane::finished() const {
  if (!closing_.load()) {
    return false;
  }
  if (base::Clock::now() >= close_by_.load()) {
    return true;
  }
  return std::all_of(peers_.begin(), peers_.end(), [](const auto& peer) {
    return !peer || peer->lost || (peer->output.empty() && peer->acknowledged);
  });
}

int ControlPlane::wait_milliseconds(base::TimePoint next) const {
  next = std::min(next, next_beat_);
  if (closing_.load()) {
    next = std::min(next, close_by_.load());
  }
  return base::poll_timeout(next);
}

void ControlPlane::loop() {
  std::array<epoll_event, 64> events{};
  while (!finished()) {
    const base::TimePoint next = handler_.on_turn();
    const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   wait_milliseconds(next));
    for (int i = 0; i < ready; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.u64 == kWakeEvent) {
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t drained = ::read(wake_.get(), &count, sizeof(count));
        continue;
      }
      const int rank = static_cast<int>(event.data.u64);
      Peer& peer = *peers_[event.data.u64];
      if ((event.events & EPOLLOUT) != 0 && !peer.lost) {
        watch(rank, false);
        if (peer.output.flush()) {
          watch(rank, true);
        }
      }
      if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        read_peer(rank);
      }
    }
    beat(base::Clock::now());
  }
}

void ControlPlane::beat(base::TimePoint now) {
  // After this process itself was stopped, silence says nothing about the others.
  const bool slept = now - last_turn_ > 2 * options_.heartbeat;
  last_turn_ = now;
  for (std::size_t rank = 0; rank < peers_.size(); ++rank) {
    Peer* const peer = peers_[rank].get();
    if (peer == nullptr || peer->lost || peer->muted.load()) {
      continue;
    }
    if (slept) {
      peer->heard = now;
    } else if (now - peer->heard > options_.silence_limit) {
      lose(static_cast<int>(rank),
           base::unavailable("it has been silent for {} ms", options_.silence_limit.count()));
      continue;
    }
    if (now >= next_beat_ && !closing_.load()) {
      send(static_cast<int>(rank), {});
    }
  }
  if (now >= next_beat_) {
    next_beat_ = now + options_.heartbeat;
  }
}

void ControlPlane::lose(int rank, const base::Status& why) {
  Peer& peer = *peers_[static_cast<std::size_t>(rank)];
  if (peer.lost) {
    return;
  }
  peer.lost = true;
  peer.muted.store(true);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer.socket, nullptr);
  handler_.on_lost(rank, why);
}

void ControlPlane::read_peer(int rank) {
  const Peer& peer = *peers_[static_cast<std::size_t>(rank)];
  for (int i = 0; i < kReadsPerTurn && !peer.lost; ++i) {
    if (!read_some(rank)) {
      return;
    }
  }
}

ssize_t ControlPlane::receive(Peer& peer, std::byte* data, std::size_t bytes) {
  iovec piece{data, bytes};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 4)> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(peer.socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) {
    return got;
  }
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      base::Fd owned(fd);
      if (peer.fds.size() < kMaxPendingFds) {
        peer.fds.push_back(std::move(owned));
      }
    }
  }
  return got;
}

bool ControlPlane::read_some(int rank) {
  Peer& peer = *peers_[static_cast<std::size_t>(rank)];
  Input& input = peer.input;
  const bool head = input.head_bytes < kFrameHeaderBytes;
  const ssize_t got =
      head ? receive(peer, input.head.data() + input.head_bytes,
                     kFrameHeaderBytes - input.head_bytes)
           : receive(peer, input.target + input.received, input.target_bytes - input.received);
  if (got < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return false;
    }
    if (errno != EINTR) {
      lose(rank, base::errno_status(errno, "its connection broke"));
    }
    return true;
  }
  if (got == 0) {
    lose(rank, base::unavailable("its connection closed"));
    return false;
  }
  peer.heard = base::Clock::now();
  base::Status status;
  if (head) {
    input.head_bytes += static_cast<std::size_t>(got);
    if (input.head_bytes == kFrameHeaderBytes) {
      status = begin_payload(rank);
    }
  } else {
    input.received += static_cast<std::size_t>(got);
  }
  if (status.ok() && input.head_bytes == kFrameHeaderBytes &&
      input.received == input.target_bytes) {
    status = end_payload(rank);
  }
  if (!status.ok()) {
    lose(rank, status);
  }
  return true;
}

base::Status ControlPlane::begin_payload(int rank) {
  Input& input = peers_[static_cast<std::size_t>(rank)]->input;
  GAMELAN_ASSIGN_OR_RETURN(input.header, decode_frame(input.head));
  input.received = 0;
  input.target_bytes = input.header.payload_bytes;
  input.placed = false;
  if (input.header.type == FrameType::kPart) {
    GAMELAN_ASSIGN_OR_RETURN(const std::span<std::byte> target,
                             handler_.on_part(rank, input.header));
    input.placed = !target.empty();
    input.target = input.placed ? target.data() : scratch_.data();
  } else {
    input.payload.resize(input.target_bytes);
    input.target = input.payload.data();
  }
  return base::OkStatus();
}

base::Status ControlPlane::end_payload(int rank) {
  Peer& peer = *peers_[static_cast<std::size_t>(rank)];
  Input& input = peer.input;
  const FrameHeader header = input.header;
  const bool placed = std::exchange(input.placed, false);
  input.head_bytes = 0;
  input.received = 0;
  input.target_bytes = 0;
  switch (header.type) {
    case FrameType::kHeartbeat:
      return base::OkStatus();
    case FrameType::kPart:
      if (placed) {
        handler_.on_part_received(rank, header);
      }
      return base::OkStatus();
    case FrameType::kGoodbyeAck:
      peer.acknowledged = true;
      return base::OkStatus();
    case FrameType::kGoodbye:
      peer.muted.store(true);
      send(rank, {.type = FrameType::kGoodbyeAck});
      break;
    default:
      break;
  }
  base::Fd fd;
  if (header.type == FrameType::kSegment && !peer.fds.empty()) {
    fd = std::move(peer.fds.front());
    peer.fds.pop_front();
  }
  // The handler may start a payload of its own only after this one: the buffer is stable until
  // then.
  return handler_.on_frame(rank, header, input.payload, std::move(fd));
}

}  // namespace gamelan::dist
