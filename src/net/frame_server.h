#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/fd.h"
#include "base/status.h"
#include "net/auth.h"
#include "net/event_loop.h"
#include "net/frame.h"

namespace gamelan::net {

/// Accepts connections on an event loop, lets those through that pass the handshake, and hands
/// their frames to a handler. Strangers, silent and slow clients cost a descriptor for a while and
/// never a thread.
///
/// Lives on the loop: every call after construction is made on its thread, close() before the end.
/// The loop outlives it.
class FrameServer {
 public:
  using PeerId = std::uint64_t;  ///< never 0, never used twice

  struct Options {
    FrameFormat format{};
    Token token{};
    /// Context of the handshake and name in log lines.
    std::string service{};
    /// A client that has not proved itself by then is cut off.
    std::chrono::milliseconds handshake_timeout{10'000};
    /// While more than this waits to be sent to a peer, nothing is read from it.
    std::size_t pause_unsent_bytes = 1 << 20;
    /// A peer to which more than this waits to be sent is cut off.
    std::size_t max_unsent_bytes = 256 << 20;
  };

  struct Handler {
    /// A frame of an authenticated peer. May call send and close_peer.
    std::function<void(PeerId, const Frame&)> on_frame;
    /// An authenticated peer has gone or was closed; called once for each, also by close().
    std::function<void(PeerId)> on_close;
  };

  /// `listener` is a listening socket (listen_tcp, listen_unix).
  FrameServer(EventLoop& loop, base::Fd listener, Options options, Handler handler);
  ~FrameServer();
  FrameServer(const FrameServer&) = delete;
  FrameServer& operator=(const FrameServer&) = delete;

  /// Begins to accept.
  void start();
  /// Sends a whole frame, at once as far as the socket takes it. Nothing happens when the peer has
  /// gone.
  void send(PeerId peer, std::string_view frame);
  /// Ends a connection; the reason goes to the log.
  void close_peer(PeerId peer, const base::Status& reason);
  /// Stops accepting and closes every connection after what its socket takes at once.
  void close();

  std::size_t connections() const { return peers_.size(); }

 private:
  class Peer;
  class Listener;

  void accept_ready();
  void retry_accept();
  void forget(PeerId peer, bool was_open);
  void log_refusal(const std::string& address, const base::Status& reason);

  EventLoop& loop_;
  const Options options_;
  const Handler handler_;
  std::shared_ptr<Listener> listener_;
  std::unordered_map<PeerId, std::shared_ptr<Peer>> peers_;
  PeerId last_peer_ = 0;
  EventLoop::TimerId accept_timer_ = 0;
  base::TimePoint next_log_{};
  std::size_t unlogged_ = 0;
};

}  // namespace gamelan::net
