#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/status.h"
#include "launch/messages.h"
#include "net/auth.h"

namespace gamelan::launch {

/// One connection between agents on an event loop: handshake, then messages both ways, with
/// heartbeats. Never blocks. Used by one thread. After an error from any call the link is dead.
class Link {
 public:
  struct Heartbeat {
    base::Duration interval = std::chrono::seconds(5);
    int max_missed = 3;
  };

  /// Takes over a connected socket. `client` is the side that connected.
  static base::StatusOr<std::unique_ptr<Link>> client(base::Fd socket, const net::Token& token,
                                                      Heartbeat heartbeat);
  static base::StatusOr<std::unique_ptr<Link>> server(base::Fd socket, const net::Token& token,
                                                      Heartbeat heartbeat);
  /// Two connected links of one process, without handshake and heartbeat.
  static base::StatusOr<std::pair<std::unique_ptr<Link>, std::unique_ptr<Link>>> local_pair();

  int fd() const { return socket_.get(); }
  short events() const;
  bool open() const { return stage_ == Stage::kOpen; }

  /// Queues a message (sent once the handshake is done) and writes what the socket takes.
  void send(const Message& message);
  /// Reads, shakes hands and writes what is possible; the messages that have arrived are appended
  /// to `messages`, also when the connection has ended after them.
  base::Status proceed(std::vector<Message>& messages);
  /// Sends a heartbeat when one is due; an error when the other side is silent for too long.
  base::Status tick(base::TimePoint now);
  base::TimePoint next_deadline() const;

 private:
  enum class Stage { kAwaitHello, kAwaitChallenge, kAwaitClientProof, kAwaitServerProof, kOpen };

  Link(base::Fd socket, std::optional<Heartbeat> heartbeat, Stage stage);
  base::Status read_available();
  base::Status flush();
  /// Consumes one handshake step or one frame; false when more bytes are needed.
  base::StatusOr<bool> take_one(std::vector<Message>& messages);
  base::StatusOr<bool> take_frame(std::vector<Message>& messages);
  void open_up();
  template <std::size_t N>
  void queue_bytes(const std::array<std::byte, N>& bytes);

  base::Fd socket_;
  std::optional<Heartbeat> heartbeat_;
  Stage stage_;
  std::optional<net::ClientHandshake> client_;
  std::optional<net::ServerHandshake> server_;
  std::string in_;
  std::string out_;   ///< may be sent now
  std::string held_;  ///< frames that wait for the end of the handshake
  base::TimePoint last_heard_;
  base::TimePoint last_sent_;
};

}  // namespace gamelan::launch
