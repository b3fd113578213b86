#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "dist/collective/operation.h"
#include "dist/transport/transport.h"

namespace gamelan::dist {

/// Where a rank's input lies when it is in registered memory.
struct SegmentSpot {
  std::uint32_t segment = 0;  ///< 0 = not registered
  std::uint64_t offset = 0;
};

/// What ranks on one host tell each other through their segments (docs/formats/transport.md has the
/// layout): each posts its call of an operation with a small payload, then counts the steps that it
/// has done. Every rank writes only its own segment, but for the doorbells and registered memory.
/// One thread at a time.
class ShmChannel {
 public:
  /// Payloads of a post are at most this long.
  static constexpr std::size_t kSmallBytes = 64 * 1024;
  /// Bytes of all parts of a round. Three rounds of input and output stay in a level-2 cache of 2
  /// MiB.
  static constexpr std::size_t kRoundBytes = 256 * 1024;
  /// Rounds whose buffers are in use at once: one is filled, one reduced, one copied out.
  static constexpr std::size_t kSlots = 3;

  static std::size_t segment_bytes();

  explicit ShmChannel(Transport& transport);

  int rank() const { return rank_; }
  int size() const { return size_; }
  Transport& transport() { return transport_; }

  /// Begins an operation: tells the others its signature, where its input lies and a payload of at
  /// most kSmallBytes, and waits until everybody has posted the same signature. All ranks have
  /// finished the previous operation then.
  base::Status meet(const Operation& operation, SegmentSpot spot, const void* payload,
                    std::size_t payload_bytes);
  /// What `rank` posted for the operation that meet() began. Valid until the next but one.
  const std::byte* payload(int rank, std::size_t payload_bytes) const;
  SegmentSpot spot(int rank) const;

  /// The staging buffers of a rank: kRoundBytes each.
  std::byte* input_slot(int rank, std::size_t round) const;
  std::byte* output_slot(int rank, std::size_t round) const;

  /// Says that this rank's next step is done, after everything it wrote.
  void signal();
  /// Waits until `rank` (all ranks) has done `step` steps since meet().
  base::Status wait(int rank, std::uint64_t step, const Operation& operation);
  base::Status wait_all(std::uint64_t step, const Operation& operation);

 private:
  struct Post;
  struct Header;

  Header& header(int rank) const;
  Post& post(int rank) const;
  void ring_others();
  template <class Ready>
  base::Status wait_until(int rank, const Operation& operation, Ready ready);
  template <class Ready>
  bool spin(Ready ready) const;
  std::vector<int> late_ranks(bool meeting, std::uint64_t target) const;
  base::Status give_up(int rank, const Operation& operation, bool meeting, std::uint64_t target);
  base::Status compare(const Operation& operation, int rank);

  Transport& transport_;
  const int rank_;
  const int size_;
  const bool crowded_;
  std::vector<std::shared_ptr<Segment>> segments_;  // by rank
  std::uint64_t posted_ = 0;                        // operations so far
  std::uint64_t base_step_ = 0;                     // steps of earlier operations
  std::uint64_t steps_ = 0;                         // own steps so far
};

}  // namespace gamelan::dist
