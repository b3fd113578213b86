#include "net/frame_server.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "base/log.h"
#include "net/event_loop_impl.h"
#include "net/frame_server_peer.h"
#include "net/socket_address.h"

namespace gamelan::net {
namespace {

// After "too many open files" the connection stays in the backlog: look again when one may have
// closed.
constexpr std::chrono::milliseconds kAcceptPause{100};
// So many connections are accepted in a row before other events get their turn.
constexpr int kAcceptsAtOnce = 64;
// Somebody who knocks all day must not fill the log.
constexpr std::chrono::seconds kLogEvery{1};

}  // namespace

FrameServer::FrameServer(EventLoop& loop, base::Fd listener, Options options, Handler handler)
    : loop_(loop), options_(std::move(options)), handler_(std::move(handler)) {
  const int flags = ::fcntl(listener.get(), F_GETFL);
  ::fcntl(listener.get(), F_SETFL, flags | O_NONBLOCK);
  listener_ = std::make_shared<Listener>(loop.impl().context(), std::move(listener));
}

FrameServer::~FrameServer() {
  GAMELAN_CHECK(listener_ == nullptr, "a frame server ({}) is closed before it is destroyed",
                options_.service);
}

void FrameServer::start() {
  retry_accept();
}

void FrameServer::retry_accept() {
  if (listener_ == nullptr) {
    return;
  }
  listener_->descriptor.async_wait(
      boost::asio::posix::stream_descriptor::wait_read,
      [this, listener = listener_](const boost::system::error_code& error) {
        // Cancelled by close(): the server may be gone.
        if (!error && listener->descriptor.is_open()) {
          accept_ready();
        }
      });
}

void FrameServer::accept_ready() {
  for (int accepted = 0; accepted < kAcceptsAtOnce && listener_ != nullptr; ++accepted) {
    base::Fd fd(::accept4(listener_->descriptor.native_handle(), nullptr, nullptr,
                          SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd.valid()) {
      tune_connection(fd.get());
      const PeerId id = ++last_peer_;
      std::string address = describe_peer(fd.get());
      const auto peer = std::make_shared<Peer>(*this, id, std::move(fd), std::move(address));
      peers_.emplace(id, peer);
      peer->start();
      continue;
    }
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK) {
      break;
    }
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
      log_refusal("a new client", base::errno_status(error, "accept"));
      accept_timer_ = loop_.call_at(base::deadline_after(kAcceptPause), [this] { retry_accept(); });
      return;
    }
    // EINTR, ECONNABORTED and the network errors of a connection that died in the backlog: next.
  }
  retry_accept();
}

void FrameServer::send(PeerId peer, std::string_view frame) {
  const auto found = peers_.find(peer);
  if (found != peers_.end()) {
    const std::shared_ptr<Peer> alive = found->second;
    alive->send(frame);
  }
}

void FrameServer::close_peer(PeerId peer, const base::Status& reason) {
  const auto found = peers_.find(peer);
  if (found != peers_.end()) {
    const std::shared_ptr<Peer> alive = found->second;
    alive->close(reason);
  }
}

void FrameServer::close() {
  if (listener_ == nullptr) {
    return;
  }
  loop_.cancel(accept_timer_);
  boost::system::error_code ignored;
  listener_->descriptor.close(ignored);
  listener_.reset();
  std::vector<std::shared_ptr<Peer>> peers;
  for (const auto& [id, peer] : peers_) {
    peers.push_back(peer);
  }
  for (const auto& peer : peers) {
    peer->close(base::OkStatus());
  }
}

void FrameServer::forget(PeerId peer, bool was_open) {
  peers_.erase(peer);
  if (was_open) {
    handler_.on_close(peer);
  }
}

void FrameServer::log_refusal(const std::string& address, const base::Status& reason) {
  const base::TimePoint now = base::Clock::now();
  if (now < next_log_) {
    ++unlogged_;
    return;
  }
  const std::string more =
      unlogged_ == 0 ? "" : fmt::format(" (and {} more like it)", std::exchange(unlogged_, 0));
  next_log_ = now + kLogEvery;
  base::log().warn("{}: closed the connection of {}: {}{}", options_.service, address,
                   base::message(reason), more);
}

}  // namespace gamelan::net
