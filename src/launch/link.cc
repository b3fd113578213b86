#include "launch/link.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

namespace gamelan::launch {
namespace {

constexpr std::string_view kContext = "agent";
/// A client that has connected has this long to prove that it knows the token.
constexpr std::chrono::seconds kHandshakeTimeout{10};

base::Status set_nonblocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return base::errno_status(errno, "fcntl O_NONBLOCK");
  }
  return base::OkStatus();
}

std::span<const std::byte> as_bytes(const std::string& text, std::size_t size) {
  return std::as_bytes(std::span(text.data(), size));
}

}  // namespace

Link::Link(base::Fd socket, std::optional<Heartbeat> heartbeat, Stage stage)
    : socket_(std::move(socket)),
      heartbeat_(heartbeat),
      stage_(stage),
      last_heard_(base::Clock::now()),
      last_sent_(last_heard_) {}

base::StatusOr<std::unique_ptr<Link>> Link::client(base::Fd socket, const net::Token& token,
                                                   Heartbeat heartbeat) {
  GAMELAN_RETURN_IF_ERROR(set_nonblocking(socket.get()));
  std::unique_ptr<Link> link(new Link(std::move(socket), heartbeat, Stage::kAwaitChallenge));
  link->client_.emplace(token, kContext);
  link->queue_bytes(link->client_->hello());
  return link;
}

base::StatusOr<std::unique_ptr<Link>> Link::server(base::Fd socket, const net::Token& token,
                                                   Heartbeat heartbeat) {
  GAMELAN_RETURN_IF_ERROR(set_nonblocking(socket.get()));
  std::unique_ptr<Link> link(new Link(std::move(socket), heartbeat, Stage::kAwaitHello));
  link->server_.emplace(token, kContext);
  return link;
}

base::StatusOr<std::pair<std::unique_ptr<Link>, std::unique_ptr<Link>>> Link::local_pair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
    return base::errno_status(errno, "socketpair");
  }
  return std::make_pair(
      std::unique_ptr<Link>(new Link(base::Fd(fds[0]), std::nullopt, Stage::kOpen)),
      std::unique_ptr<Link>(new Link(base::Fd(fds[1]), std::nullopt, Stage::kOpen)));
}

short Link::events() const {
  return static_cast<short>(POLLIN | (out_.empty() ? 0 : POLLOUT));
}

template <std::size_t N>
void Link::queue_bytes(const std::array<std::byte, N>& bytes) {
  out_.append(reinterpret_cast<const char*>(bytes.data()), N);
}

void Link::send(const Message& message) {
  (open() ? out_ : held_) += encode(message);
  // An error shows again in proceed(), which every owner calls when the socket has news.
  (void)flush();
}

base::Status Link::flush() {
  while (!out_.empty()) {
    const ssize_t sent = ::send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent < 0 && errno == EAGAIN) {
      return base::OkStatus();
    }
    if (sent < 0) {
      return base::errno_status(errno, "send to an agent");
    }
    out_.erase(0, static_cast<std::size_t>(sent));
    last_sent_ = base::Clock::now();
  }
  return base::OkStatus();
}

base::Status Link::read_available() {
  std::array<char, 16 * 1024> buffer;
  // Bounded, so that one busy connection cannot hold the loop.
  for (int turn = 0; turn < 16; ++turn) {
    const ssize_t bytes = recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes < 0 && errno == EAGAIN) {
      return base::OkStatus();
    }
    if (bytes < 0) {
      return base::errno_status(errno, "receive from an agent");
    }
    if (bytes == 0) {
      return base::unavailable("closed the connection");
    }
    in_.append(buffer.data(), static_cast<std::size_t>(bytes));
    last_heard_ = base::Clock::now();
  }
  return base::OkStatus();
}

base::Status Link::proceed(std::vector<Message>& messages) {
  const base::Status read = read_available();
  while (true) {
    GAMELAN_ASSIGN_OR_RETURN(const bool progress, take_one(messages));
    if (!progress) {
      break;
    }
  }
  GAMELAN_RETURN_IF_ERROR(read);
  return flush();
}

void Link::open_up() {
  stage_ = Stage::kOpen;
  out_ += held_;
  held_.clear();
}

base::StatusOr<bool> Link::take_one(std::vector<Message>& messages) {
  if (open()) {
    return take_frame(messages);
  }
  const std::size_t need = stage_ == Stage::kAwaitHello       ? net::kClientHelloBytes
                           : stage_ == Stage::kAwaitChallenge ? net::kServerChallengeBytes
                                                              : net::kProofBytes;
  if (in_.size() < need) {
    return false;
  }
  const auto bytes = as_bytes(in_, need);
  if (stage_ == Stage::kAwaitHello) {
    GAMELAN_ASSIGN_OR_RETURN(const auto challenge, server_->challenge(bytes));
    queue_bytes(challenge);
    stage_ = Stage::kAwaitClientProof;
  } else if (stage_ == Stage::kAwaitChallenge) {
    GAMELAN_ASSIGN_OR_RETURN(const auto proof, client_->answer(bytes));
    queue_bytes(proof);
    stage_ = Stage::kAwaitServerProof;
  } else if (stage_ == Stage::kAwaitClientProof) {
    auto proof = server_->verify(bytes);
    if (!proof.ok()) {
      queue_bytes(std::array<std::byte, net::kProofBytes>{});  // lets the client say "wrong token"
      (void)flush();
      return proof.status();
    }
    queue_bytes(*proof);
    open_up();
  } else {
    GAMELAN_RETURN_IF_ERROR(client_->verify(bytes));
    open_up();
  }
  in_.erase(0, need);
  return true;
}

base::StatusOr<bool> Link::take_frame(std::vector<Message>& messages) {
  if (in_.size() < 4) {
    return false;
  }
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    size |= static_cast<std::size_t>(static_cast<unsigned char>(in_[i])) << (8 * i);
  }
  if (size > kMaxFrameBytes) {
    return base::data_loss("agent message: expected at most {} bytes, got {}", kMaxFrameBytes,
                           size);
  }
  if (in_.size() < 4 + size) {
    return false;
  }
  GAMELAN_ASSIGN_OR_RETURN(Message message, decode(as_bytes(in_, 4 + size).subspan(4)));
  in_.erase(0, 4 + size);
  if (!std::holds_alternative<Ping>(message)) {
    messages.push_back(std::move(message));
  }
  return true;
}

base::Status Link::tick(base::TimePoint now) {
  if (!heartbeat_) {
    return base::OkStatus();
  }
  if (!open()) {
    if (now - last_sent_ > kHandshakeTimeout && now - last_heard_ > kHandshakeTimeout) {
      return base::deadline_exceeded("did not finish the handshake within {} s",
                                     kHandshakeTimeout.count());
    }
    return base::OkStatus();
  }
  const base::Duration silent = now - last_heard_;
  if (silent > heartbeat_->interval * heartbeat_->max_missed) {
    return base::deadline_exceeded("has been silent for {:.1f} s", base::seconds(silent));
  }
  if (now - last_sent_ >= heartbeat_->interval) {
    last_sent_ = now;
    send(Ping{});
  }
  return base::OkStatus();
}

base::TimePoint Link::next_deadline() const {
  if (!heartbeat_) {
    return base::TimePoint::max();
  }
  if (!open()) {
    return std::max(last_sent_, last_heard_) + kHandshakeTimeout + std::chrono::milliseconds(1);
  }
  return std::min(
      last_sent_ + heartbeat_->interval,
      last_heard_ + heartbeat_->interval * heartbeat_->max_missed + std::chrono::milliseconds(1));
}

}  // namespace gamelan::launch
