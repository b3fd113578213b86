#include "dist/collective/link/link_exchange.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "dist/collective/lateness.h"
#include "dist/transport/frames.h"

namespace gamelan::dist {
namespace {

constexpr std::uint32_t kMagic = 0x314c4447;  // "GDL1"
constexpr std::size_t kMaxVectors = 16;
// A message of the other side is usually on its way: look again for as long as a wake-up would
// cost.
constexpr std::chrono::microseconds kSpin{50};
// At most this long without a look at the deadline; failures wake the wait by themselves.
constexpr std::chrono::milliseconds kNap{1'000};

}  // namespace

LinkExchange::LinkExchange(Transport& transport, const Operation& operation)
    : transport_(transport),
      operation_(operation),
      rank_(transport.rank()),
      peers_(static_cast<std::size_t>(transport.size())) {
  for (int rank = 0; rank < transport.size(); ++rank) {
    if (rank != rank_) {
      Peer& peer = peers_[static_cast<std::size_t>(rank)];
      peer.out.pieces.push_back({peer.out_header.data(), kHeaderBytes, 0, kNoRound});
      peer.in.pieces.push_back({peer.in_header.data(), kHeaderBytes, 0, kNoRound});
    }
  }
}

void LinkExchange::send(int peer, const std::byte* data, std::size_t bytes, std::uint32_t rounds) {
  if (bytes > 0) {
    peers_[static_cast<std::size_t>(peer)].out.pieces.push_back(
        {const_cast<std::byte*>(data), bytes, rounds, kNoRound});
  }
}

void LinkExchange::receive(int peer, std::byte* data, std::size_t bytes, std::uint32_t rounds,
                           std::uint32_t round) {
  if (bytes == 0) {
    return;
  }
  peers_[static_cast<std::size_t>(peer)].in.pieces.push_back({data, bytes, rounds, round});
  if (round != kNoRound) {
    pending_.resize(std::max<std::size_t>(pending_.size(), round + 1));
    ++pending_[round];
  }
}

void LinkExchange::encode_header(Peer& peer) const {
  const OpSignature& signature = operation_.signature;
  std::byte* const bytes = peer.out_header.data();
  std::uint64_t length = 0;
  for (const Piece& piece : peer.out.pieces) {
    length += piece.bytes;
  }
  put_u32(bytes, kMagic);
  bytes[4] = static_cast<std::byte>(signature.kind);
  bytes[5] = static_cast<std::byte>(signature.dtype);
  bytes[6] = static_cast<std::byte>(signature.reduce);
  put_u32(bytes + 8, signature.root);
  put_u32(bytes + 12, static_cast<std::uint32_t>(rank_));
  put_u64(bytes + 16, transport_.generation());
  put_u64(bytes + 24, signature.sequence);
  put_u64(bytes + 32, signature.count);
  put_u64(bytes + 40, length - kHeaderBytes);
}

base::Status LinkExchange::check_header(int rank) {
  const Peer& peer = peers_[static_cast<std::size_t>(rank)];
  const std::byte* const bytes = peer.in_header.data();
  if (get_u32(bytes) != kMagic || get_u64(bytes + 16) != transport_.generation() ||
      get_u32(bytes + 12) != static_cast<std::uint32_t>(rank)) {
    transport_.fail(base::data_loss("the data connection of {} carries no operation of this group",
                                    transport_.describe(rank)));
    return transport_.failure();
  }
  OpSignature other;
  other.kind = static_cast<OpKind>(bytes[4]);
  other.dtype = static_cast<tensor::DType>(bytes[5]);
  other.reduce = static_cast<ReduceOp>(bytes[6]);
  other.root = get_u32(bytes + 8);
  other.sequence = get_u64(bytes + 24);
  other.count = get_u64(bytes + 32);
  if (other != operation_.signature) {
    return fail_mismatch(transport_, operation_.signature, rank, other);
  }
  std::uint64_t length = 0;
  for (const Piece& piece : peer.in.pieces) {
    length += piece.bytes;
  }
  if (get_u64(bytes + 40) != length - kHeaderBytes) {
    transport_.fail(base::data_loss("{} sends {} bytes for {}; expected {}",
                                    transport_.describe(rank), get_u64(bytes + 40),
                                    to_string(operation_.signature), length - kHeaderBytes));
    return transport_.failure();
  }
  return base::OkStatus();
}

void LinkExchange::advance_out(Peer& peer, std::size_t bytes) {
  Stream& stream = peer.out;
  stream.done += bytes;
  while (stream.next < stream.pieces.size() && stream.done >= stream.pieces[stream.next].bytes) {
    stream.done -= stream.pieces[stream.next].bytes;
    ++stream.next;
    --left_;
  }
}

base::Status LinkExchange::advance_in(int rank, std::size_t bytes) {
  Stream& stream = peers_[static_cast<std::size_t>(rank)].in;
  stream.done += bytes;
  while (stream.next < stream.pieces.size() && stream.done >= stream.pieces[stream.next].bytes) {
    const Piece& piece = stream.pieces[stream.next];
    stream.done -= piece.bytes;
    if (piece.round != kNoRound) {
      --pending_[piece.round];
    }
    --left_;
    if (stream.next++ == 0) {
      GAMELAN_RETURN_IF_ERROR(check_header(rank));
    }
  }
  return base::OkStatus();
}

void LinkExchange::close_rounds() {
  while (over_ < rounds_ && pending_[over_] == 0) {
    if (on_round_) {
      on_round_(over_);
    }
    ++over_;
  }
}

namespace {

struct Vectors {
  std::array<iovec, kMaxVectors> pieces;
  std::size_t count = 0;
};

/// The pieces from `next` on that may move now; the header alone, since what follows is only known
/// to be the same operation once it has been read.
template <class Stream>
Vectors movable(const Stream& stream, std::uint32_t over, bool header_alone) {
  Vectors vectors;
  std::size_t skip = stream.done;
  for (std::size_t i = stream.next; i < stream.pieces.size() && vectors.count < kMaxVectors; ++i) {
    const auto& piece = stream.pieces[i];
    if (piece.gate > over) {
      break;
    }
    vectors.pieces[vectors.count++] = {piece.data + skip, piece.bytes - skip};
    skip = 0;
    if (i == 0 && header_alone) {
      break;
    }
  }
  return vectors;
}

}  // namespace

base::StatusOr<bool> LinkExchange::write_some(int rank) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  Vectors vectors = movable(peer.out, over_, false);
  if (vectors.count == 0) {
    return false;
  }
  msghdr message{};
  message.msg_iov = vectors.pieces.data();
  message.msg_iovlen = vectors.count;
  const ssize_t sent =
      ::sendmsg(transport_.data_socket(rank), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) {
    advance_out(peer, static_cast<std::size_t>(sent));
    return true;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
    return false;
  }
  return transport_.explain_loss(rank);
}

base::StatusOr<bool> LinkExchange::read_some(int rank) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  Vectors vectors = movable(peer.in, over_, true);
  if (vectors.count == 0) {
    return false;
  }
  msghdr message{};
  message.msg_iov = vectors.pieces.data();
  message.msg_iovlen = vectors.count;
  const ssize_t got = ::recvmsg(transport_.data_socket(rank), &message, MSG_DONTWAIT);
  if (got > 0) {
    GAMELAN_RETURN_IF_ERROR(advance_in(rank, static_cast<std::size_t>(got)));
    return true;
  }
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return false;
  }
  return transport_.explain_loss(rank);
}

base::Status LinkExchange::pass(bool* progressed) {
  for (int rank = 0; rank < transport_.size(); ++rank) {
    if (rank == rank_) {
      continue;
    }
    GAMELAN_ASSIGN_OR_RETURN(const bool wrote, write_some(rank));
    GAMELAN_ASSIGN_OR_RETURN(const bool got, read_some(rank));
    *progressed = *progressed || wrote || got;
  }
  close_rounds();
  return base::OkStatus();
}

std::vector<int> LinkExchange::silent_peers() const {
  // First those that have not called the operation, else those that owe something.
  std::vector<int> silent;
  for (const bool only_absent : {true, false}) {
    for (int rank = 0; rank < transport_.size(); ++rank) {
      const Stream& in = peers_[static_cast<std::size_t>(rank)].in;
      if (rank != rank_ && in.next < (only_absent ? 1 : in.pieces.size())) {
        silent.push_back(rank);
      }
    }
    if (!silent.empty()) {
      return silent;
    }
  }
  for (int rank = 0; rank < transport_.size(); ++rank) {
    const Stream& out = peers_[static_cast<std::size_t>(rank)].out;
    if (rank != rank_ && out.next < out.pieces.size()) {
      silent.push_back(rank);
    }
  }
  return silent;
}

base::Status LinkExchange::wait_for_sockets() {
  std::vector<pollfd> polls{{transport_.failure_fd(), POLLIN, 0}};
  for (int rank = 0; rank < transport_.size(); ++rank) {
    if (rank == rank_) {
      continue;
    }
    const Peer& peer = peers_[static_cast<std::size_t>(rank)];
    short events = 0;
    if (peer.in.next < peer.in.pieces.size() && peer.in.pieces[peer.in.next].gate <= over_) {
      events |= POLLIN;
    }
    if (peer.out.next < peer.out.pieces.size() && peer.out.pieces[peer.out.next].gate <= over_) {
      events |= POLLOUT;
    }
    if (events != 0) {
      polls.push_back({transport_.data_socket(rank), events, 0});
    }
  }
  const base::TimePoint nap = std::min(operation_.deadline, base::deadline_after(kNap));
  ::poll(polls.data(), polls.size(), base::poll_timeout(nap));
  if (transport_.failed()) {
    return transport_.failure();
  }
  if (base::Clock::now() >= operation_.deadline) {
    return fail_late(transport_, operation_, silent_peers());
  }
  return base::OkStatus();
}

base::Status LinkExchange::run(std::uint32_t rounds,
                               const std::function<void(std::uint32_t)>& on_round) {
  rounds_ = rounds;
  on_round_ = on_round;
  pending_.resize(rounds);
  for (Peer& peer : peers_) {
    if (!peer.out.pieces.empty()) {
      encode_header(peer);
    }
    left_ += peer.out.pieces.size() + peer.in.pieces.size();
  }
  close_rounds();
  base::TimePoint spin_end = base::Clock::now() + kSpin;
  while (left_ > 0 || over_ < rounds_) {
    bool progressed = false;
    GAMELAN_RETURN_IF_ERROR(pass(&progressed));
    if (progressed) {
      spin_end = base::Clock::now() + kSpin;
      continue;
    }
    if (!transport_.crowded() && base::Clock::now() < spin_end) {
      continue;
    }
    GAMELAN_RETURN_IF_ERROR(wait_for_sockets());
    spin_end = base::Clock::now() + kSpin;
  }
  return base::OkStatus();
}

}  // namespace gamelan::dist
