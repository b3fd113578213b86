#include "dist/collective/link/link_collectives.h"

#include <algorithm>
#include <cstring>

#include "dist/collective/link/link_exchange.h"
#include "dist/collective/reduce.h"

namespace gamelan::dist {
namespace {

// Up to this many bytes each rank sends its whole buffer to every other: one message instead of two
// in a row.
constexpr std::size_t kWholeBytes = 16 * 1024;
// A round of one part: what is received, reduced and sent on is still in the level-2 cache.
constexpr std::size_t kSegmentBytes = 128 * 1024;
// Rounds that may be received ahead of the one that is being reduced.
constexpr std::size_t kAhead = 3;
// From this size on the receivers of a broadcast help to spread it.
constexpr std::size_t kWideBytes = 256 * 1024;

}  // namespace

LinkCollectives::LinkCollectives(Transport& transport)
    : transport_(transport),
      rank_(transport.rank()),
      size_(transport.size()),
      sources_(static_cast<std::size_t>(transport.size())) {}

base::Status LinkCollectives::run(const Operation& operation) {
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
      return LinkExchange(transport_, operation).run();
    default:
      return base::internal("a message is not a collective");
  }
}

std::byte* LinkCollectives::staging(std::size_t count, std::size_t bytes) {
  // Chunks begin at cache lines; the vector itself is aligned for every element type.
  if (staging_.size() < count * bytes) {
    staging_.resize(count * bytes);
  }
  return staging_.data();
}

base::Status LinkCollectives::all_reduce(const Operation& op) {
  if (op.input.size_bytes() <= kWholeBytes || size_ == 1) {
    return whole_all_reduce(op);
  }
  const std::size_t element = op.element_bytes();
  const std::size_t step = kSegmentBytes / element;
  const auto ranks = static_cast<std::size_t>(size_);
  // Part 0 is never shorter than another one.
  const std::size_t rounds = (part_of(op.input.count, element, size_, 0).count + step - 1) / step;
  /// Segment k of the part of a rank.
  const auto segment = [&](int rank, std::size_t k) {
    const Part part = part_of(op.input.count, element, size_, rank);
    const std::size_t begin = std::min(part.count, k * step);
    return Part{part.begin + begin, std::min(step, part.count - begin)};
  };
  std::byte* const stage = staging(kAhead * ranks, kSegmentBytes);
  const auto slot = [&](int rank, std::size_t k) {
    return stage + ((k % kAhead) * ranks + static_cast<std::size_t>(rank)) * kSegmentBytes;
  };
  LinkExchange exchange(transport_, op);
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) {
      continue;
    }
    // Either way: input 0, input 1, result 0, input 2, result 1, …
    for (std::size_t k = 0; k <= rounds; ++k) {
      if (k < rounds) {
        const Part theirs = segment(peer, k);
        exchange.send(peer, op.in() + theirs.begin * element, theirs.count * element);
        const std::size_t own_bytes = segment(rank_, k).count * element;
        exchange.receive(peer, slot(peer, k), own_bytes,
                         static_cast<std::uint32_t>(k < kAhead ? 0 : k - kAhead + 1),
                         static_cast<std::uint32_t>(k));
      }
      if (k > 0) {
        const Part own = segment(rank_, k - 1);
        exchange.send(peer, op.out() + own.begin * element, own.count * element,
                      static_cast<std::uint32_t>(k));
        const Part theirs = segment(peer, k - 1);
        exchange.receive(peer, op.out() + theirs.begin * element, theirs.count * element);
      }
    }
  }
  return exchange.run(static_cast<std::uint32_t>(rounds), [&](std::uint32_t k) {
    const Part own = segment(rank_, k);
    std::byte* const target = op.out() + own.begin * element;
    for (int rank = 0; rank < size_; ++rank) {
      sources_[static_cast<std::size_t>(rank)] = rank == rank_ ? target : slot(rank, k);
    }
    reduce_in_order(op.signature.dtype, op.signature.reduce, sources_, target, own.count);
  });
}

base::Status LinkCollectives::whole_all_reduce(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  std::byte* const stage = staging(static_cast<std::size_t>(size_), kWholeBytes);
  const auto slot = [&](int rank) { return stage + static_cast<std::size_t>(rank) * kWholeBytes; };
  LinkExchange exchange(transport_, op);
  for (int peer = 0; peer < size_; ++peer) {
    if (peer != rank_) {
      exchange.send(peer, op.in(), bytes);
      exchange.receive(peer, slot(peer), bytes);
    }
  }
  GAMELAN_RETURN_IF_ERROR(exchange.run());
  for (int rank = 0; rank < size_; ++rank) {
    sources_[static_cast<std::size_t>(rank)] = rank == rank_ ? op.in() : slot(rank);
  }
  reduce_in_order(op.signature.dtype, op.signature.reduce, sources_, op.out(), op.input.count);
  return base::OkStatus();
}

base::Status LinkCollectives::reduce_scatter(const Operation& op) {
  const std::size_t element = op.element_bytes();
  const std::size_t step = kSegmentBytes / element;
  const std::size_t part_count = op.output.count;
  const std::size_t rounds = (part_count + step - 1) / step;
  const auto ranks = static_cast<std::size_t>(size_);
  std::byte* const stage = staging(kAhead * ranks, kSegmentBytes);
  const auto slot = [&](int rank, std::size_t k) {
    return stage + ((k % kAhead) * ranks + static_cast<std::size_t>(rank)) * kSegmentBytes;
  };
  const auto part = [&](int rank) { return static_cast<std::size_t>(rank) * part_count * element; };
  LinkExchange exchange(transport_, op);
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) {
      continue;
    }
    exchange.send(peer, op.in() + part(peer), part_count * element);
    for (std::size_t k = 0; k < rounds; ++k) {
      exchange.receive(peer, slot(peer, k), std::min(step, part_count - k * step) * element,
                       static_cast<std::uint32_t>(k < kAhead ? 0 : k - kAhead + 1),
                       static_cast<std::uint32_t>(k));
    }
  }
  return exchange.run(static_cast<std::uint32_t>(rounds), [&](std::uint32_t k) {
    const std::size_t begin = k * step;
    for (int rank = 0; rank < size_; ++rank) {
      sources_[static_cast<std::size_t>(rank)] =
          rank == rank_ ? op.in() + part(rank) + begin * element : slot(rank, k);
    }
    reduce_in_order(op.signature.dtype, op.signature.reduce, sources_, op.out() + begin * element,
                    std::min(step, part_count - begin));
  });
}

base::Status LinkCollectives::all_gather(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  std::byte* const own = op.out() + static_cast<std::size_t>(rank_) * bytes;
  if (bytes > 0 && own != op.in()) {
    std::memmove(own, op.in(), bytes);
  }
  LinkExchange exchange(transport_, op);
  for (int peer = 0; peer < size_; ++peer) {
    if (peer != rank_) {
      exchange.send(peer, own, bytes);
      exchange.receive(peer, op.out() + static_cast<std::size_t>(peer) * bytes, bytes);
    }
  }
  return exchange.run();
}

base::Status LinkCollectives::gather(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const int root = static_cast<int>(op.signature.root);
  LinkExchange exchange(transport_, op);
  if (rank_ != root) {
    exchange.send(root, op.in(), bytes);
    return exchange.run();
  }
  std::byte* const own = op.out() + static_cast<std::size_t>(rank_) * bytes;
  if (bytes > 0 && own != op.in()) {
    std::memmove(own, op.in(), bytes);
  }
  for (int peer = 0; peer < size_; ++peer) {
    if (peer != rank_) {
      exchange.receive(peer, op.out() + static_cast<std::size_t>(peer) * bytes, bytes);
    }
  }
  return exchange.run();
}

base::Status LinkCollectives::broadcast(const Operation& op) {
  const std::size_t bytes = op.input.size_bytes();
  const int root = static_cast<int>(op.signature.root);
  if (size_ > 2 && bytes >= kWideBytes) {
    return wide_broadcast(op);
  }
  LinkExchange exchange(transport_, op);
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) {
      continue;
    }
    if (rank_ == root) {
      exchange.send(peer, op.in(), bytes);
    } else if (peer == root) {
      exchange.receive(peer, op.out(), bytes);
    }
  }
  return exchange.run();
}

/// The root sends each receiver one part, segment by segment, and the receivers pass them on to
/// each other: nobody sends more than about the whole buffer.
base::Status LinkCollectives::wide_broadcast(const Operation& op) {
  const std::size_t element = op.element_bytes();
  const std::size_t step = kSegmentBytes / element;
  const int root = static_cast<int>(op.signature.root);
  const int receivers = size_ - 1;
  const std::size_t rounds =
      (part_of(op.input.count, element, receivers, 0).count + step - 1) / step;
  const auto segment = [&](int rank, std::size_t k) {
    const Part part = part_of(op.input.count, element, receivers, rank < root ? rank : rank - 1);
    const std::size_t begin = std::min(part.count, k * step);
    return Part{part.begin + begin, std::min(step, part.count - begin)};
  };
  LinkExchange exchange(transport_, op);
  for (std::size_t k = 0; k < rounds; ++k) {
    const auto round = static_cast<std::uint32_t>(k);
    for (int peer = 0; peer < size_; ++peer) {
      if (peer == rank_) {
        continue;
      }
      const Part theirs = peer == root ? Part{} : segment(peer, k);
      const Part own = rank_ == root ? Part{} : segment(rank_, k);
      if (rank_ == root) {
        exchange.send(peer, op.in() + theirs.begin * element, theirs.count * element);
      } else if (peer == root) {
        exchange.receive(peer, op.out() + own.begin * element, own.count * element, 0, round);
      } else {
        exchange.send(peer, op.out() + own.begin * element, own.count * element, round + 1);
        exchange.receive(peer, op.out() + theirs.begin * element, theirs.count * element);
      }
    }
  }
  return exchange.run(rank_ == root ? 0 : static_cast<std::uint32_t>(rounds));
}

}  // namespace gamelan::dist
