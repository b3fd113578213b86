#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "dist/transport/frames.h"

namespace gamelan::dist {

/// Called when the bytes of a message have been handed to the socket, or never will be.
using SendDone = std::function<void(const base::Status&)>;

/// What is still to be sent on one control connection. Thread-safe: whoever adds a frame sends it
/// at once where the socket takes it, and the loop sends the rest.
class ControlOutput {
 public:
  /// `socket` is nonblocking and stays owned by the control plane.
  explicit ControlOutput(int socket) : socket_(socket) {}

  /// Queues a frame before all parts of messages. `fd` (not owned, -1 = none) travels with it.
  void add(const FrameHeader& header, std::string payload, int fd = -1);
  /// Queues `bytes` of memory as parts of message `number`; `done` fires exactly once, on the
  /// thread that sends the last part or cancels.
  void add_parts(std::uint64_t number, const std::byte* data, std::size_t bytes, SendDone done);
  /// Sends what the socket takes. Returns whether something is left, so that the loop watches for
  /// room.
  bool flush();
  /// Ends all messages with `reason` and lets go of their memory; frames stay.
  void cancel_parts(const base::Status& reason);
  bool empty() const;

 private:
  struct Frame {
    std::string bytes;                ///< header and owned payload
    const std::byte* part = nullptr;  ///< borrowed payload
    std::size_t part_bytes = 0;
    std::size_t sent = 0;
    int fd = -1;
    SendDone done;
  };
  struct Message {
    std::uint64_t number;
    const std::byte* data;
    std::size_t left;
    SendDone done;
  };

  bool next_frame() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool send_some() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int socket_;
  mutable base::Mutex mutex_;
  std::deque<Frame> frames_ ABSL_GUARDED_BY(mutex_);
  std::deque<Message> messages_ ABSL_GUARDED_BY(mutex_);
  Frame current_ ABSL_GUARDED_BY(mutex_);
  bool sending_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace gamelan::dist
