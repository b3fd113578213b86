#include "net/frame_server_peer.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <cerrno>
#include <utility>

#include "net/event_loop_impl.h"

namespace gamelan::net {
namespace {

boost::asio::generic::stream_protocol protocol_of(int fd) {
  int domain = AF_INET;
  socklen_t length = sizeof(domain);
  ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
  return {domain, domain == AF_UNIX ? 0 : IPPROTO_TCP};
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

FrameServer::Peer::Peer(FrameServer& server, PeerId id, base::Fd fd, std::string address)
    : server_(server),
      id_(id),
      address_(std::move(address)),
      socket_(server.loop_.impl().context(), protocol_of(fd.get()), fd.get()),
      handshake_(std::in_place, server.options_.token, server.options_.service),
      reader_(server.options_.format) {
  fd.release();  // the socket has it now
}

void FrameServer::Peer::start() {
  handshake_timer_ = server_.loop_.call_at(
      base::deadline_after(server_.options_.handshake_timeout), [self = shared_from_this()] {
        self->close(base::deadline_exceeded("no complete handshake within {} ms",
                                            self->server_.options_.handshake_timeout.count()));
      });
  read();
}

void FrameServer::Peer::read() {
  reading_ = true;
  const std::span<std::byte> space = reader_.space();
  socket_.async_read_some(
      boost::asio::buffer(space.data(), space.size()),
      [self = shared_from_this()](const boost::system::error_code& error, std::size_t count) {
        if (self->state_ == State::kClosed) {
          return;
        }
        self->reading_ = false;
        if (error) {
          self->close(base::unavailable(
              "{}", error == boost::asio::error::eof ? "closed by the client" : error.message()));
          return;
        }
        self->reader_.commit(count);
        self->on_bytes();
      });
}

void FrameServer::Peer::on_bytes() {
  base::Status status = state_ == State::kOpen ? base::OkStatus() : advance_handshake();
  if (status.ok() && state_ == State::kOpen) {
    status = dispatch_frames();
  }
  if (!status.ok()) {
    close(status);
  }
  if (state_ != State::kClosed && !reading_ && !paused()) {
    read();
  }
}

base::Status FrameServer::Peer::advance_handshake() {
  std::size_t sent = 0;
  if (state_ == State::kHello) {
    const std::span<const std::byte> hello = reader_.buffered();
    GAMELAN_RETURN_IF_ERROR(check_client_prefix(hello));
    if (hello.size() < kClientHelloBytes) {
      return base::OkStatus();
    }
    GAMELAN_ASSIGN_OR_RETURN(const auto challenge,
                             handshake_->challenge(hello.first(kClientHelloBytes)));
    reader_.discard(kClientHelloBytes);
    state_ = State::kProof;
    send(text_of(challenge));
  }
  if (state_ == State::kProof && reader_.buffered().size() >= kProofBytes) {
    const auto proof = handshake_->verify(reader_.buffered().first(kProofBytes));
    if (!proof.ok()) {
      const std::array<std::byte, kProofBytes> refusal{};
      send_now(text_of(refusal), &sent).IgnoreError();
      return proof.status();
    }
    reader_.discard(kProofBytes);
    server_.loop_.cancel(handshake_timer_);
    handshake_.reset();
    state_ = State::kOpen;
    send(text_of(*proof));
  }
  return base::OkStatus();
}

base::Status FrameServer::Peer::dispatch_frames() {
  while (state_ == State::kOpen && !paused()) {
    GAMELAN_ASSIGN_OR_RETURN(const std::optional<Frame> frame, reader_.next());
    if (!frame.has_value()) {
      break;
    }
    server_.handler_.on_frame(id_, *frame);
  }
  return base::OkStatus();
}

base::Status FrameServer::Peer::send_now(std::string_view bytes, std::size_t* sent) {
  while (*sent < bytes.size()) {
    const ssize_t count = ::send(socket_.native_handle(), bytes.data() + *sent,
                                 bytes.size() - *sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      *sent += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      return base::errno_status(errno, "send");
    }
  }
  return base::OkStatus();
}

void FrameServer::Peer::send(std::string_view frame) {
  if (state_ == State::kClosed) {
    return;
  }
  std::size_t sent = 0;
  if (unsent() == 0) {
    const base::Status status = send_now(frame, &sent);
    if (!status.ok()) {
      close(status);
      return;
    }
  }
  if (sent == frame.size()) {
    return;
  }
  if (unsent() + frame.size() - sent > server_.options_.max_unsent_bytes) {
    close(base::resource_exhausted("more than {} bytes of replies that it does not read",
                                   server_.options_.max_unsent_bytes));
    return;
  }
  if (out_begin_ > out_.size() / 2) {
    out_.erase(0, out_begin_);
    out_begin_ = 0;
  }
  out_.append(frame.substr(sent));
  if (!writing_) {
    write_rest();
  }
}

void FrameServer::Peer::write_rest() {
  writing_ = true;
  socket_.async_wait(boost::asio::socket_base::wait_write,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       if (self->state_ == State::kClosed) {
                         return;
                       }
                       self->writing_ = false;
                       const bool was_paused = self->paused();
                       const base::Status status =
                           error ? base::unavailable("{}", error.message())
                                 : self->send_now(self->out_, &self->out_begin_);
                       if (!status.ok()) {
                         self->close(status);
                         return;
                       }
                       if (self->unsent() > 0) {
                         self->write_rest();
                       } else {
                         self->out_.clear();
                         self->out_begin_ = 0;
                       }
                       if (was_paused && !self->paused()) {
                         self->on_bytes();  // frames may have been left in the reader
                       }
                     });
}

void FrameServer::Peer::close(const base::Status& reason) {
  if (state_ == State::kClosed) {
    return;
  }
  const bool was_open = state_ == State::kOpen;
  state_ = State::kClosed;
  server_.loop_.cancel(handshake_timer_);
  boost::system::error_code ignored;
  socket_.close(ignored);
  // A client that leaves is no news; one that is refused or breaks the protocol is.
  if (!reason.ok() && reason.code() != base::StatusCode::kUnavailable) {
    server_.log_refusal(address_, reason);
  }
  server_.forget(id_, was_open);
}

}  // namespace gamelan::net
