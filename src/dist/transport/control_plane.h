#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/status.h"
#include "dist/transport/control_output.h"
#include "dist/transport/frames.h"

namespace gamelan::dist {

/// The control connections of one group: one thread reads all of them, sends heartbeats and notices
/// who is gone. Frames may be sent from any thread.
class ControlPlane {
 public:
  /// Called on the loop's thread only.
  class Handler {
   public:
    virtual ~Handler() = default;
    /// A complete frame other than a part. `fd` is what came with it.
    virtual base::Status on_frame(int peer, const FrameHeader& header,
                                  std::span<const std::byte> payload, base::Fd fd) = 0;
    /// Where the payload of a part goes, exactly as long as it; an empty span throws it away.
    virtual base::StatusOr<std::span<std::byte>> on_part(int peer, const FrameHeader& header) = 0;
    virtual void on_part_received(int peer, const FrameHeader& header) = 0;
    /// The connection of `peer` is over: closed, broken, damaged or silent. Once per peer.
    virtual void on_lost(int peer, const base::Status& why) = 0;
    /// Before each wait: does what is due and returns when it wants to be called next.
    virtual base::TimePoint on_turn() = 0;
  };

  struct Options {
    std::chrono::milliseconds heartbeat{2'000};
    std::chrono::milliseconds silence_limit{30'000};
  };

  /// `sockets[r]` is the connection to rank r, -1 for none (this rank itself); not owned.
  ControlPlane(const std::vector<int>& sockets, Options options, Handler& handler);
  /// close() and join().
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  /// Starts the thread; once.
  void start();

  void send(int peer, const FrameHeader& header, std::string payload = {}, int fd = -1);
  /// `data` must stay until `done` has been called.
  void send_parts(int peer, std::uint64_t number, const std::byte* data, std::size_t bytes,
                  SendDone done);
  /// Lets go of the memory of every message that is being sent or received. On the loop's thread
  /// only.
  void cancel_parts(const base::Status& reason);
  /// Makes the loop take a turn.
  void wake();

  /// Ends the loop once what is queued has been sent and every goodbye answered, at the latest
  /// after `linger`.
  void close(std::chrono::milliseconds linger = std::chrono::milliseconds(500));
  void join();

 private:
  struct Input;
  struct Peer;

  void loop();
  int wait_milliseconds(base::TimePoint next) const;
  void read_peer(int rank);
  bool read_some(int rank);
  ssize_t receive(Peer& peer, std::byte* data, std::size_t bytes);
  base::Status begin_payload(int rank);
  base::Status end_payload(int rank);
  void lose(int rank, const base::Status& why);
  void beat(base::TimePoint now);
  void watch(int rank, bool writable);
  bool finished() const;

  const Options options_;
  Handler& handler_;
  base::Fd epoll_;
  base::Fd wake_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<std::byte> scratch_;
  base::TimePoint next_beat_;
  base::TimePoint last_turn_;
  std::atomic<bool> closing_{false};
  std::atomic<base::TimePoint> close_by_{base::TimePoint::max()};
  std::thread thread_;
};

}  // namespace gamelan::dist
