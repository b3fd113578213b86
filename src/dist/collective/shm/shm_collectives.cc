#include "dist/collective/shm/shm_collectives.h"

#include <algorithm>
#include <cstring>

#include "dist/collective/reduce.h"

namespace gamelan::dist {
namespace {

constexpr std::size_t kSmall = ShmChannel::kSmallBytes;
constexpr std::size_t kRound = ShmChannel::kRoundBytes;
// Everybody reads everybody's whole payload: beyond this many bytes in all, sharing the work pays
// for two more synchronisations.
constexpr std::size_t kSmallReadBytes = 128 * 1024;
// Reduced, then copied to where else it is needed while still in the L1 cache.
constexpr std::size_t kCopyBlock = 16 * 1024;

void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (to != from && bytes > 0) {
    std::memmove(to, from, bytes);
  }
}

std::size_t rounds_of(std::size_t bytes, std::size_t round) {
  return (bytes + round - 1) / round;
}

}  // namespace

ShmCollectives::ShmCollectives(Transport& transport, const RegisteredTable& registered)
    : channel_(transport),
      transport_(transport),
      registered_(registered),
      rank_(transport.rank()),
      size_(transport.size()),
      sources_(static_cast<std::size_t>(transport.size())) {}

base::Status ShmCollectives::run(const Operation& operation) {
  used_.clear();
  switch (operation.signature.kind) {
    case OpKind::kBroadcast:
      return broadcast(operation);
    case OpKind::kAllReduce:
      return all_reduce(operation);
    case OpKind::kAllGather:
      return all_gather(operation);
    case OpKind::kReduceScatter:
      return reduce_scatter(operation);
    case OpKind::kGather:
      return gather(operation);
    case OpKind::kBarrier:
      return channel_.meet(operation, {}, nullptr, 0);
    default:
      return base::internal("a message is not a collective");
  }
}

base::Status ShmCollectives::meet(const Operation& op, std::size_t bytes, bool small) {
  if (small) {
    return channel_.meet(op, {}, op.input.data, bytes);
  }
  return channel_.meet(op, registered_.find(op.input.data, bytes), nullptr, 0);
}

base::StatusOr<std::byte*> ShmCollectives::locate(int rank, std::size_t bytes,
                                                  base::TimePoint deadline) {
  const SegmentSpot spot = channel_.spot(rank);
  GAMELAN_ASSIGN_OR_RETURN(std::shared_ptr<Segment> segment,
                           transport_.peer_segment(rank, spot.segment, deadline));
  if (spot.offset > segment->size_bytes() || bytes > segment->size_bytes() - spot.offset) {
    return base::data_loss("{} says that {} bytes lie at {} of its segment of {} bytes",
                           transport_.describe(rank), bytes, spot.offset, segment->size_bytes());
  }
  std::byte* const address = segment->data() + spot.offset;
  used_.push_back(std::move(segment));
  return address;
}

base::StatusOr<std::vector<std::byte*>> ShmCollectives::registered_inputs(const Operation& op,
                                                                          std::size_t bytes) {
  for (int rank = 0; rank < size_; ++rank) {
    if (channel_.spot(rank).segment == 0) {
      return std::vector<std::byte*>();
    }
  }
  std::vector<std::byte*> inputs;
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == rank_) {
      inputs.push_back(static_cast<std::byte*>(op.input.data));
      continue;
    }
    auto input = locate(rank, bytes, op.deadline);
    if (!input.ok()) {
      transport_.fail(input.status());
      return transport_.failure();
    }
    inputs.push_back(*input);
  }
  return inputs;
}

/// Nobody goes on, and changes its input, before everybody has read it.
base::Status ShmCollectives::leave_together(const Operation& op) {
  channel_.signal();
  return channel_.wait_all(1, op);
}

// ---- all_reduce ----

base::Status ShmCollectives::all_reduce(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const std::size_t readers = static_cast<std::size_t>(size_);
  const bool small = bytes <= kSmall && bytes * readers <= kSmallReadBytes;
  GAMELAN_RETURN_IF_ERROR(meet(op, bytes, small));
  if (small) {
    for (int rank = 0; rank < size_; ++rank) {
      sources_[static_cast<std::size_t>(rank)] =
          rank == rank_ ? op.in() : channel_.payload(rank, bytes);
    }
    reduce_in_order(op.signature.dtype, op.signature.reduce, sources_, op.out(), op.input.count);
    return base::OkStatus();
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::byte*> inputs, registered_inputs(op, bytes));
  if (inputs.empty()) {
    return staged_all_reduce(op);
  }
  // Each rank owns one part of every buffer: it alone reads and writes there.
  const std::size_t element = op.element_bytes();
  const Part part = part_of(op.input.count, element, size_, rank_);
  const std::size_t step = kCopyBlock / element;
  for (std::size_t at = part.begin; at < part.begin + part.count; at += step) {
    const std::size_t count = std::min(step, part.begin + part.count - at);
    std::transform(inputs.begin(), inputs.end(), sources_.begin(),
                   [&](const std::byte* input) { return input + at * element; });
    std::byte* const own = op.out() + at * element;
    reduce_in_order(op.signature.dtype, op.signature.reduce, sources_, own, count);
    for (std::byte* const input : inputs) {
      copy_bytes(input + at * element, own, count * element);
    }
  }
  return leave_together(op);
}

/// Copies what the others reduce of a round into this rank's input slot.
void ShmCollectives::stage_round(const Operation& op, std::size_t round) {
  const std::size_t element = op.element_bytes();
  const std::size_t begin = round * (kRound / element);
  const std::size_t count = std::min(kRound / element, op.input.count - begin);
  const Part own = part_of(count, element, size_, rank_);
  const std::byte* const from = op.in() + begin * element;
  std::byte* const to = channel_.input_slot(rank_, round);
  const std::size_t after = (own.begin + own.count) * element;
  std::memcpy(to, from, own.begin * element);
  std::memcpy(to + after, from + after, count * element - after);
}

/// Reduces this rank's part of a round into its buffer and its output slot.
void ShmCollectives::reduce_round(const Operation& op, std::size_t round) {
  const std::size_t element = op.element_bytes();
  const std::size_t begin = round * (kRound / element);
  const std::size_t count = std::min(kRound / element, op.input.count - begin);
  const Part own = part_of(count, element, size_, rank_);
  const std::size_t step = kCopyBlock / element;
  for (std::size_t at = own.begin; at < own.begin + own.count; at += step) {
    const std::size_t size = std::min(step, own.begin + own.count - at);
    std::byte* const target = op.out() + (begin + at) * element;
    for (int rank = 0; rank < size_; ++rank) {
      sources_[static_cast<std::size_t>(rank)] =
          rank == rank_ ? target : channel_.input_slot(rank, round) + at * element;
    }
    reduce_in_order(op.signature.dtype, op.signature.reduce, sources_, target, size);
    std::memcpy(channel_.output_slot(rank_, round) + at * element, target, size * element);
  }
}

/// Copies the parts of a round that the others have reduced.
void ShmCollectives::collect_round(const Operation& op, std::size_t round) {
  const std::size_t element = op.element_bytes();
  const std::size_t begin = round * (kRound / element);
  const std::size_t count = std::min(kRound / element, op.input.count - begin);
  for (int rank = 0; rank < size_; ++rank) {
    const Part part = part_of(count, element, size_, rank);
    if (rank != rank_ && part.count > 0) {
      std::memcpy(op.out() + (begin + part.begin) * element,
                  channel_.output_slot(rank, round) + part.begin * element, part.count * element);
    }
  }
}

/// Per round: stage the next one, reduce this one, collect the last one, so that others are seldom
/// awaited.
///
/// Steps are counted in program order: input 0, input 1, output 0, input 2, output 1, … A slot is
/// used again three rounds later. Input slot k+1 held round k-2, which everybody had reduced when
/// output k-2 was awaited, one turn ago. Output slot k held round k-3, which everybody had
/// collected before staging round k, which has just been awaited.
base::Status ShmCollectives::staged_all_reduce(const Operation& op) {
  const std::size_t rounds = rounds_of(op.input.size_bytes(), kRound);
  const auto input_step = [](std::size_t k) { return k == 0 ? 1 : 2 * k; };
  const auto output_step = [rounds](std::size_t k) {
    return k + 1 < rounds ? 2 * k + 3 : 2 * rounds;
  };
  stage_round(op, 0);
  channel_.signal();
  for (std::size_t k = 0; k < rounds; ++k) {
    if (k + 1 < rounds) {
      stage_round(op, k + 1);
      channel_.signal();
    }
    GAMELAN_RETURN_IF_ERROR(channel_.wait_all(input_step(k), op));
    reduce_round(op, k);
    channel_.signal();
    if (k > 0) {
      GAMELAN_RETURN_IF_ERROR(channel_.wait_all(output_step(k - 1), op));
      collect_round(op, k - 1);
    }
  }
  GAMELAN_RETURN_IF_ERROR(channel_.wait_all(output_step(rounds - 1), op));
  collect_round(op, rounds - 1);
  return base::OkStatus();
}

// ---- broadcast ----

base::Status ShmCollectives::broadcast(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const int root = static_cast<int>(op.signature.root);
  const bool small = bytes <= kSmall;
  if (rank_ == root) {
    GAMELAN_RETURN_IF_ERROR(meet(op, bytes, small));
  } else {
    GAMELAN_RETURN_IF_ERROR(channel_.meet(op, {}, nullptr, 0));
  }
  if (small) {
    if (rank_ != root) {
      copy_bytes(op.out(), channel_.payload(root, bytes), bytes);
    }
    return base::OkStatus();
  }
  if (channel_.spot(root).segment == 0) {
    return staged_broadcast(op);
  }
  if (rank_ != root) {
    const auto from = locate(root, bytes, op.deadline);
    if (!from.ok()) {
      transport_.fail(from.status());
      return transport_.failure();
    }
    copy_bytes(op.out(), *from, bytes);
  }
  return leave_together(op);
}

/// Step k of the root: round k is in its slot. Step k of the others: round k has been copied out.
base::Status ShmCollectives::staged_broadcast(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const int root = static_cast<int>(op.signature.root);
  const std::size_t rounds = rounds_of(bytes, kRound);
  for (std::size_t k = 0; k < rounds; ++k) {
    const std::size_t size = std::min(kRound, bytes - k * kRound);
    if (rank_ == root) {
      if (k >= ShmChannel::kSlots) {
        GAMELAN_RETURN_IF_ERROR(channel_.wait_all(k - ShmChannel::kSlots + 1, op));
      }
      std::memcpy(channel_.input_slot(root, k), op.in() + k * kRound, size);
    } else {
      GAMELAN_RETURN_IF_ERROR(channel_.wait(root, k + 1, op));
      std::memcpy(op.out() + k * kRound, channel_.input_slot(root, k), size);
    }
    channel_.signal();
  }
  return base::OkStatus();
}

// ---- all_gather ----

base::Status ShmCollectives::all_gather(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const bool small = bytes <= kSmall;
  GAMELAN_RETURN_IF_ERROR(meet(op, bytes, small));
  const std::size_t own = static_cast<std::size_t>(rank_) * bytes;
  if (small) {
    copy_bytes(op.out() + own, op.in(), bytes);
    for (int rank = 0; rank < size_; ++rank) {
      if (rank != rank_) {
        copy_bytes(op.out() + static_cast<std::size_t>(rank) * bytes, channel_.payload(rank, bytes),
                   bytes);
      }
    }
    return base::OkStatus();
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::byte*> inputs, registered_inputs(op, bytes));
  if (inputs.empty()) {
    return staged_all_gather(op);
  }
  for (std::size_t rank = 0; rank < inputs.size(); ++rank) {
    copy_bytes(op.out() + rank * bytes, inputs[rank], bytes);
  }
  return leave_together(op);
}

/// The next round is staged before this one is copied out. Its slot held round k-2, which everybody
/// had copied out before staging round k, which has just been awaited.
base::Status ShmCollectives::staged_all_gather(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const std::size_t rounds = rounds_of(bytes, kRound);
  const auto size_at = [bytes](std::size_t k) { return std::min(kRound, bytes - k * kRound); };
  const auto stage = [&](std::size_t k) {
    std::memcpy(channel_.input_slot(rank_, k), op.in() + k * kRound, size_at(k));
    channel_.signal();
  };
  stage(0);
  for (std::size_t k = 0; k < rounds; ++k) {
    GAMELAN_RETURN_IF_ERROR(channel_.wait_all(k + 1, op));
    if (k + 1 < rounds) {
      stage(k + 1);
    }
    for (int rank = 0; rank < size_; ++rank) {
      std::byte* const to = op.out() + static_cast<std::size_t>(rank) * bytes + k * kRound;
      copy_bytes(to, rank == rank_ ? op.in() + k * kRound : channel_.input_slot(rank, k),
                 size_at(k));
    }
  }
  return base::OkStatus();
}

// ---- reduce_scatter ----

base::Status ShmCollectives::reduce_scatter(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const std::size_t part_bytes = op.output.size_bytes();
  const std::size_t own = static_cast<std::size_t>(rank_) * part_bytes;
  const bool small = bytes <= kSmall;
  GAMELAN_RETURN_IF_ERROR(meet(op, bytes, small));
  std::vector<std::byte*> inputs;
  if (!small) {
    GAMELAN_ASSIGN_OR_RETURN(inputs, registered_inputs(op, bytes));
    if (inputs.empty()) {
      return staged_reduce_scatter(op);
    }
  }
  for (std::size_t rank = 0; rank < sources_.size(); ++rank) {
    const bool mine = static_cast<int>(rank) == rank_;
    sources_[rank] = own + (mine    ? op.in()
                            : small ? channel_.payload(static_cast<int>(rank), bytes)
                                    : inputs[rank]);
  }
  reduce_in_order(op.signature.dtype, op.signature.reduce, sources_, op.out(), op.output.count);
  return small ? base::OkStatus() : leave_together(op);
}

/// As staged_all_gather, with one chunk of every other rank's part in a round.
base::Status ShmCollectives::staged_reduce_scatter(const Operation& op) {
  const std::size_t element = op.element_bytes();
  const std::size_t part_count = op.output.count;
  const std::size_t chunk =
      std::max<std::size_t>(1, kRound / element / static_cast<std::size_t>(size_));
  const std::size_t rounds = rounds_of(part_count, chunk);
  const auto count_at = [&](std::size_t k) { return std::min(chunk, part_count - k * chunk); };
  const auto own_input = [&](int part, std::size_t k) {
    return op.in() + (static_cast<std::size_t>(part) * part_count + k * chunk) * element;
  };
  const auto stage = [&](std::size_t k) {
    for (int part = 0; part < size_; ++part) {
      if (part != rank_) {
        std::memcpy(
            channel_.input_slot(rank_, k) + static_cast<std::size_t>(part) * chunk * element,
            own_input(part, k), count_at(k) * element);
      }
    }
    channel_.signal();
  };
  stage(0);
  for (std::size_t k = 0; k < rounds; ++k) {
    GAMELAN_RETURN_IF_ERROR(channel_.wait_all(k + 1, op));
    if (k + 1 < rounds) {
      stage(k + 1);
    }
    for (int rank = 0; rank < size_; ++rank) {
      sources_[static_cast<std::size_t>(rank)] =
          rank == rank_
              ? own_input(rank_, k)
              : channel_.input_slot(rank, k) + static_cast<std::size_t>(rank_) * chunk * element;
    }
    reduce_in_order(op.signature.dtype, op.signature.reduce, sources_,
                    op.out() + k * chunk * element, count_at(k));
  }
  return base::OkStatus();
}

// ---- gather ----

base::Status ShmCollectives::gather(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const int root = static_cast<int>(op.signature.root);
  const bool small = bytes <= kSmall;
  GAMELAN_RETURN_IF_ERROR(meet(op, bytes, small));
  if (small) {
    for (int rank = 0; rank < size_ && rank_ == root; ++rank) {
      copy_bytes(op.out() + static_cast<std::size_t>(rank) * bytes,
                 rank == rank_ ? op.in() : channel_.payload(rank, bytes), bytes);
    }
    return base::OkStatus();
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::byte*> inputs, registered_inputs(op, bytes));
  if (inputs.empty()) {
    return staged_gather(op);
  }
  for (std::size_t rank = 0; rank < inputs.size() && rank_ == root; ++rank) {
    copy_bytes(op.out() + rank * bytes, inputs[rank], bytes);
  }
  return leave_together(op);
}

/// Step k of the root: round k of everybody has been copied out. Step k of the others: it is in
/// their slot.
base::Status ShmCollectives::staged_gather(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const int root = static_cast<int>(op.signature.root);
  const std::size_t rounds = rounds_of(bytes, kRound);
  for (std::size_t k = 0; k < rounds; ++k) {
    const std::size_t size = std::min(kRound, bytes - k * kRound);
    if (rank_ != root) {
      if (k >= ShmChannel::kSlots) {
        GAMELAN_RETURN_IF_ERROR(channel_.wait(root, k - ShmChannel::kSlots + 1, op));
      }
      std::memcpy(channel_.input_slot(rank_, k), op.in() + k * kRound, size);
    } else {
      GAMELAN_RETURN_IF_ERROR(channel_.wait_all(k + 1, op));
      for (int rank = 0; rank < size_; ++rank) {
        copy_bytes(op.out() + static_cast<std::size_t>(rank) * bytes + k * kRound,
                   rank == rank_ ? op.in() + k * kRound : channel_.input_slot(rank, k), size);
      }
    }
    channel_.signal();
  }
  return base::OkStatus();
}

}  // namespace gamelan::dist
