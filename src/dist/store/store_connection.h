#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/fd.h"
#include "base/status.h"
#include "dist/store/store.h"
#include "net/frame.h"

namespace gamelan::dist {

/// One authenticated connection to a store server; a blocking round trip at a time. Used by one
/// thread at a time; shut_down() may come from another.
class StoreConnection {
 public:
  /// `spin` is how long a round trip polls before it sleeps; 0 = not at all.
  StoreConnection(base::Fd socket, std::chrono::microseconds spin);

  /// Sends the request and waits for its reply until `deadline`. An error of the connection itself
  /// (not one that the store answered) leaves it broken.
  base::StatusOr<StoreReply> round_trip(const StoreRequest& request, std::uint32_t timeout_ms,
                                        base::TimePoint deadline);
  /// Whether it can be used again.
  bool healthy() const { return healthy_; }
  /// Makes the round trip in flight fail.
  void shut_down();

 private:
  base::StatusOr<StoreReply> receive_reply(std::uint32_t id, base::TimePoint deadline, bool spin);
  base::StatusOr<std::size_t> receive_some(std::span<std::byte> space, base::TimePoint deadline,
                                           bool spin);
  bool spin_for_bytes(std::span<std::byte> space, ssize_t* received);
  base::Status set_receive_timeout(base::TimePoint deadline);

  const base::Fd socket_;
  const std::chrono::microseconds spin_;
  bool healthy_ = true;
  std::uint32_t last_id_ = 0;
  net::FrameReader reader_;
  std::string request_frame_;                      // its memory is kept from call to call
  std::chrono::milliseconds receive_timeout_{-1};  // what the socket is set to
  // Polling that finds nothing pauses for more and more calls.
  unsigned failed_spins_ = 0;
  unsigned calls_without_spin_ = 0;
};

}  // namespace gamelan::dist
