#include "dist/collective/shm/shm_channel.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <ctime>

#include "dist/collective/lateness.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gamelan::dist {
namespace {

constexpr std::size_t kLine = 64;
// A wake-up from sleep costs about 40 us on a virtual machine: spin for about as long before
// sleeping.
constexpr std::chrono::microseconds kSpin{50};
// Between two looks at the clock: about a microsecond.
constexpr int kSpinsPerLook = 32;
// Ranks that share a CPU let each other run some times before they sleep.
constexpr int kYields = 16;
// Deaths, aborts and deadlines are noticed after at most one nap.
constexpr std::chrono::milliseconds kNap{10};
constexpr std::size_t kInlineBytes = 24;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

std::uint64_t pack(const OpSignature& signature) {
  return static_cast<std::uint64_t>(signature.kind) |
         static_cast<std::uint64_t>(signature.dtype) << 8 |
         static_cast<std::uint64_t>(signature.reduce) << 16 |
         static_cast<std::uint64_t>(signature.root) << 32;
}

OpSignature unpack(std::uint64_t packed, std::uint64_t count, std::uint64_t sequence) {
  OpSignature signature;
  signature.kind = static_cast<OpKind>(packed & 0xff);
  signature.dtype = static_cast<tensor::DType>(packed >> 8 & 0xff);
  signature.reduce = static_cast<ReduceOp>(packed >> 16 & 0xff);
  signature.root = static_cast<std::uint32_t>(packed >> 32);
  signature.count = count;
  signature.sequence = sequence;
  return signature;
}

void futex_nap(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  timespec nap{};
  nap.tv_nsec = std::chrono::nanoseconds(kNap).count();
  // Shared between processes: no FUTEX_PRIVATE_FLAG. Returning early is fine, the caller looks
  // again.
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, &nap, nullptr, 0);
}

void futex_wake(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

/// One call of an operation. A small payload lies in the same cache line as the word that tells of
/// it.
struct alignas(kLine) ShmChannel::Post {
  std::uint64_t signature;
  std::uint64_t count;
  std::uint64_t sequence_of_operation;
  std::uint64_t spot_offset;
  std::array<std::byte, kInlineBytes> payload;
  // Operation numbers from 1 in the upper half, the segment of the spot in the lower: released
  // after the rest of the line and the payload, acquired before they are read.
  std::atomic<std::uint64_t> number_and_segment;
};

struct ShmChannel::Header {
  alignas(kLine) std::atomic<std::uint64_t> steps;  // released after what the steps wrote
  alignas(kLine) std::atomic<std::uint32_t> doorbell;
  std::atomic<std::uint32_t> asleep;
  alignas(kLine) std::array<Post, 2> posts;
  alignas(4096) std::array<std::array<std::byte, kSmallBytes>, 2> small;
  alignas(4096) std::array<std::array<std::byte, kRoundBytes>, kSlots> input;
  alignas(4096) std::array<std::array<std::byte, kRoundBytes>, kSlots> output;
};

std::size_t ShmChannel::segment_bytes() {
  static_assert(sizeof(Post) == kLine);
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  return sizeof(Header);
}

ShmChannel::ShmChannel(Transport& transport)
    : transport_(transport),
      rank_(transport.rank()),
      size_(transport.size()),
      crowded_(transport.crowded()) {
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == rank_) {
      segments_.push_back(transport.own_segment());
      continue;
    }
    // They have arrived: the transport waits for them before it is formed.
    auto segment = transport.peer_segment(rank, 0, base::Clock::now());
    GAMELAN_CHECK(segment.ok(), "the segment of rank {} has arrived", rank);
    segments_.push_back(*std::move(segment));
  }
}

// A fresh segment is all zeros, which is a valid Header: no rank constructs anything in it.
ShmChannel::Header& ShmChannel::header(int rank) const {
  return *reinterpret_cast<Header*>(segments_[static_cast<std::size_t>(rank)]->data());
}

ShmChannel::Post& ShmChannel::post(int rank) const {
  return header(rank).posts[posted_ % 2];
}

const std::byte* ShmChannel::payload(int rank, std::size_t payload_bytes) const {
  Header& owner = header(rank);
  return payload_bytes <= kInlineBytes ? owner.posts[posted_ % 2].payload.data()
                                       : owner.small[posted_ % 2].data();
}

SegmentSpot ShmChannel::spot(int rank) const {
  const Post& theirs = post(rank);
  // Acquired by meet().
  return {static_cast<std::uint32_t>(theirs.number_and_segment.load(std::memory_order_relaxed)),
          theirs.spot_offset};
}

std::byte* ShmChannel::input_slot(int rank, std::size_t round) const {
  return header(rank).input[round % kSlots].data();
}

std::byte* ShmChannel::output_slot(int rank, std::size_t round) const {
  return header(rank).output[round % kSlots].data();
}

void ShmChannel::ring_others() {
  // Orders the word that was just published before the look at who sleeps; a sleeper does the
  // reverse.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == rank_) {
      continue;
    }
    Header& other = header(rank);
    if (other.asleep.load(std::memory_order_relaxed) != 0) {
      other.doorbell.fetch_add(1, std::memory_order_relaxed);
      futex_wake(other.doorbell);
    }
  }
}

template <class Ready>
bool ShmChannel::spin(Ready ready) const {
  if (ready()) {
    return true;
  }
  if (crowded_) {
    for (int i = 0; i < kYields; ++i) {
      std::this_thread::yield();
      if (ready()) {
        return true;
      }
    }
    return false;
  }
  const base::TimePoint end = base::Clock::now() + kSpin;
  do {
    for (int i = 0; i < kSpinsPerLook; ++i) {
      relax();
      if (ready()) {
        return true;
      }
    }
  } while (base::Clock::now() < end);
  return false;
}

/// `rank` is who is waited for, to see whether it has left.
template <class Ready>
base::Status ShmChannel::wait_until(int rank, const Operation& operation, Ready ready) {
  while (!spin(ready)) {
    Header& own = header(rank_);
    const std::uint32_t bell = own.doorbell.load(std::memory_order_relaxed);
    own.asleep.store(1, std::memory_order_relaxed);
    // Pairs with the fence of ring_others: either the ringer sees us asleep or we see its word.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool left = transport_.has_left(rank);
    if (!ready() && !left) {
      futex_nap(own.doorbell, bell);
    }
    own.asleep.store(0, std::memory_order_relaxed);
    if (ready()) {
      return base::OkStatus();
    }
    if (transport_.failed()) {
      return transport_.failure();
    }
    if (left) {
      return transport_.explain_loss(rank);
    }
    if (base::Clock::now() >= operation.deadline) {
      return base::deadline_exceeded("late");
    }
  }
  return base::OkStatus();
}

base::Status ShmChannel::compare(const Operation& operation, int rank) {
  const Post& theirs = post(rank);
  const OpSignature other = unpack(theirs.signature, theirs.count, theirs.sequence_of_operation);
  if (other == operation.signature) {
    return base::OkStatus();
  }
  return fail_mismatch(transport_, operation.signature, rank, other);
}

base::Status ShmChannel::meet(const Operation& operation, SegmentSpot spot, const void* payload,
                              std::size_t payload_bytes) {
  ++posted_;
  base_step_ = steps_;
  Post& own = post(rank_);
  own.signature = pack(operation.signature);
  own.count = operation.signature.count;
  own.sequence_of_operation = operation.signature.sequence;
  own.spot_offset = spot.offset;
  if (payload_bytes > 0) {
    std::byte* const target = payload_bytes <= kInlineBytes
                                  ? own.payload.data()
                                  : header(rank_).small[posted_ % 2].data();
    std::memcpy(target, payload, payload_bytes);
  }
  own.number_and_segment.store(posted_ << 32 | spot.segment, std::memory_order_release);
  ring_others();
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == rank_) {
      continue;
    }
    const Post& theirs = post(rank);
    const std::uint64_t number = posted_ & 0xffffffffU;
    const base::Status status = wait_until(rank, operation, [&theirs, number] {
      return theirs.number_and_segment.load(std::memory_order_acquire) >> 32 == number;
    });
    if (!status.ok()) {
      return give_up(rank, operation, true, number);
    }
    GAMELAN_RETURN_IF_ERROR(compare(operation, rank));
  }
  return base::OkStatus();
}

void ShmChannel::signal() {
  ++steps_;
  header(rank_).steps.store(steps_, std::memory_order_release);
  ring_others();
}

base::Status ShmChannel::wait(int rank, std::uint64_t step, const Operation& operation) {
  const std::uint64_t target = base_step_ + step;
  const std::atomic<std::uint64_t>& steps = header(rank).steps;
  const base::Status status = wait_until(rank, operation, [&steps, target] {
    return steps.load(std::memory_order_acquire) >= target;
  });
  return status.ok() ? status : give_up(rank, operation, false, target);
}

base::Status ShmChannel::wait_all(std::uint64_t step, const Operation& operation) {
  for (int rank = 0; rank < size_; ++rank) {
    if (rank != rank_) {
      GAMELAN_RETURN_IF_ERROR(wait(rank, step, operation));
    }
  }
  return base::OkStatus();
}

std::vector<int> ShmChannel::late_ranks(bool meeting, std::uint64_t target) const {
  std::vector<int> late;
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == rank_) {
      continue;
    }
    const bool there =
        meeting ? post(rank).number_and_segment.load(std::memory_order_acquire) >> 32 == target
                : header(rank).steps.load(std::memory_order_acquire) >= target;
    if (!there) {
      late.push_back(rank);
    }
  }
  return late;
}

/// A wait has ended without what it waited for: the group has failed, or the deadline has passed.
base::Status ShmChannel::give_up(int rank, const Operation& operation, bool meeting,
                                 std::uint64_t target) {
  if (transport_.failed()) {
    return transport_.failure();
  }
  std::vector<int> late = late_ranks(meeting, target);
  if (late.empty()) {
    late.push_back(rank);
  }
  return fail_late(transport_, operation, late);
}

}  // namespace gamelan::dist
