#pragma once

// One connection of a FrameServer: for its sources only.

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <memory>
#include <optional>
#include <string>

#include "net/frame_server.h"

namespace gamelan::net {

class FrameServer::Listener {
 public:
  Listener(boost::asio::io_context& context, base::Fd fd) : descriptor(context, fd.release()) {}
  boost::asio::posix::stream_descriptor descriptor;
};

/// States: handshake (hello awaited -> proof awaited) -> open -> closed. Handlers in flight keep
/// the peer alive; after `closed_` they do nothing, so the server may be gone by then.
class FrameServer::Peer : public std::enable_shared_from_this<FrameServer::Peer> {
 public:
  Peer(FrameServer& server, PeerId id, base::Fd fd, std::string address);

  void start();
  void send(std::string_view frame);
  /// Idempotent. An unauthenticated peer is refused with a line in the log, an open one is reported
  /// to the handler.
  void close(const base::Status& reason);

 private:
  enum class State { kHello, kProof, kOpen, kClosed };

  void read();
  void on_bytes();
  base::Status advance_handshake();
  base::Status dispatch_frames();
  void write_rest();
  bool paused() const { return unsent() > server_.options_.pause_unsent_bytes; }
  std::size_t unsent() const { return out_.size() - out_begin_; }
  base::Status send_now(std::string_view bytes, std::size_t* sent);

  FrameServer& server_;
  const PeerId id_;
  const std::string address_;
  boost::asio::generic::stream_protocol::socket socket_;
  State state_ = State::kHello;
  std::optional<ServerHandshake> handshake_;
  EventLoop::TimerId handshake_timer_ = 0;
  FrameReader reader_;
  bool reading_ = false;
  std::string out_;  // what the socket has not taken yet, from out_begin_
  std::size_t out_begin_ = 0;
  bool writing_ = false;
};

}  // namespace gamelan::net
