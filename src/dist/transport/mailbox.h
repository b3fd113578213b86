#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "dist/transport/control_plane.h"
#include "tensor/buffer_view.h"

namespace gamelan::dist {

/// Messages between two ranks, matched by tag, in order within a tag, over the control connections.
///
/// Short ones are sent at once and kept by the receiver until it asks; long ones are offered, and
/// go straight into the receiver's memory once it has asked. Neither send nor recv blocks and their
/// order between ranks is free, so that no exchange can lock up. `send` and `recv` are thread-safe;
/// the rest runs on the loop's thread.
class Mailbox {
 public:
  /// Called exactly once, without locks held, on any thread.
  using Done = std::function<void(const base::Status&)>;
  /// What breaks the group: a mismatch, a deadline.
  using Fail = std::function<void(const base::Status&)>;
  using Describe = std::function<std::string(int peer)>;

  Mailbox(int size, Fail fail, Describe describe);

  /// Before the first message.
  void attach(ControlPlane* control) { control_ = control; }

  void send(int peer, std::uint32_t tag, const tensor::BufferView& buffer, base::TimePoint deadline,
            Done done);
  void recv(int peer, std::uint32_t tag, const tensor::BufferView& buffer, base::TimePoint deadline,
            Done done);

  base::Status on_eager(int peer, const FrameHeader& header, std::span<const std::byte> payload);
  base::Status on_offer(int peer, const FrameHeader& header, std::span<const std::byte> payload);
  base::Status on_accept(int peer, const FrameHeader& header);
  void on_credit(int peer, const FrameHeader& header);
  base::StatusOr<std::span<std::byte>> on_part(int peer, const FrameHeader& header);
  void on_part_received(int peer, const FrameHeader& header);

  /// Ends what waits for a peer that will not answer, with `reason`.
  void fail_peer(int peer, const base::Status& reason);
  /// Ends everything, now and to come, with `reason`.
  void fail_all(const base::Status& reason);
  /// Breaks the group when a deadline has passed; returns the next one.
  base::TimePoint expire(base::TimePoint now);
  /// "recv of f32[4] with tag 3 from rank 1": the first message that is waited for; empty when none
  /// is. Thread-safe.
  std::string waiting_text() const;

 private:
  struct Receive {
    std::uint32_t tag;
    tensor::BufferView buffer;
    base::TimePoint deadline;
    Done done;
    std::size_t received = 0;
  };
  struct Send {
    std::uint32_t tag;
    tensor::BufferView buffer;
    base::TimePoint deadline;
    Done done;
  };
  struct Arrival {
    tensor::DType dtype;
    std::uint64_t count;
    bool offered;
    std::uint64_t number;  ///< of an offer
    std::string data;      ///< of an eager message
  };
  struct Peer {
    std::map<std::uint32_t, std::deque<Receive>> posted;      // by tag
    std::map<std::uint32_t, std::deque<Arrival>> unexpected;  // by tag
    std::map<std::uint64_t, Receive> incoming;                // accepted offers, by number
    std::map<std::uint64_t, Send> offered;                    // own offers, by number
    std::uint64_t next_number = 1;
    std::size_t credit;
    base::Status gone;
  };

  base::Status arrive(int peer, std::uint32_t tag, Arrival arrival);
  void match(int peer, Receive receive, Arrival arrival);
  std::vector<Done> take_all(Peer& peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string late_text(int peer, bool sending, std::uint32_t tag,
                        const tensor::BufferView& buffer) const;

  const Fail fail_;
  const Describe describe_;
  ControlPlane* control_ = nullptr;
  mutable base::Mutex mutex_;
  std::vector<Peer> peers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gamelan::dist
