#include "dist/transport/mailbox.h"

#include <algorithm>
#include <cstring>

#include "dist/transport/failure.h"

namespace gamelan::dist {
namespace {

// A copy of up to this many bytes costs less than the two messages of an offer.
constexpr std::size_t kEagerBytes = 16 * 1024;
// What one peer may leave unread here in eager messages, with a fixed cost for each.
constexpr std::size_t kCreditBytes = 1024 * 1024;
constexpr std::size_t kMessageCost = 128;

std::string describe_view(tensor::DType dtype, std::uint64_t count) {
  return fmt::format("{}[{}]", tensor::name_of(dtype), count);
}

base::StatusOr<tensor::DType> read_dtype(std::span<const std::byte> payload) {
  if (payload.empty() || std::to_integer<int>(payload[0]) >= tensor::kDTypeCount) {
    return base::data_loss("a message of unknown element type");
  }
  return static_cast<tensor::DType>(payload[0]);
}

}  // namespace

Mailbox::Mailbox(int size, Fail fail, Describe describe)
    : fail_(std::move(fail)),
      describe_(std::move(describe)),
      peers_(static_cast<std::size_t>(size)) {
  for (Peer& peer : peers_) {
    peer.credit = kCreditBytes;
  }
}

void Mailbox::send(int rank, std::uint32_t tag, const tensor::BufferView& buffer,
                   base::TimePoint deadline, Done done) {
  const std::size_t bytes = buffer.size_bytes();
  FrameHeader header;
  header.tag = tag;
  std::string payload(1, static_cast<char>(buffer.dtype));
  base::Status gone;
  bool eager = false;
  {
    const base::MutexLock lock(mutex_);
    Peer& peer = peers_[static_cast<std::size_t>(rank)];
    gone = own_copy(peer.gone);
    eager = bytes <= kEagerBytes && peer.credit >= bytes + kMessageCost;
    if (gone.ok() && eager) {
      peer.credit -= bytes + kMessageCost;
    } else if (gone.ok()) {
      header.number = peer.next_number++;
      peer.offered.emplace(header.number, Send{tag, buffer, deadline, std::move(done)});
    }
  }
  if (!gone.ok()) {
    done(gone);
    return;
  }
  if (eager) {
    header.type = FrameType::kEager;
    header.number = buffer.count;
    payload.append(static_cast<const char*>(buffer.data), bytes);
    control_->send(rank, header, std::move(payload));
    done(base::OkStatus());
    return;
  }
  header.type = FrameType::kOffer;
  payload.resize(9);
  put_u64(reinterpret_cast<std::byte*>(payload.data()) + 1, buffer.count);
  control_->send(rank, header, std::move(payload));
  control_->wake();  // the loop counts the new deadline
}

void Mailbox::recv(int rank, std::uint32_t tag, const tensor::BufferView& buffer,
                   base::TimePoint deadline, Done done) {
  Receive receive{tag, buffer, deadline, std::move(done)};
  Arrival arrival;
  base::Status gone;
  bool found = false;
  {
    const base::MutexLock lock(mutex_);
    Peer& peer = peers_[static_cast<std::size_t>(rank)];
    auto& waiting = peer.unexpected[tag];
    found = !waiting.empty();
    if (found) {
      arrival = std::move(waiting.front());
      waiting.pop_front();
    } else if (gone = own_copy(peer.gone); gone.ok()) {
      peer.posted[tag].push_back(std::move(receive));
    }
    if (waiting.empty()) {
      peer.unexpected.erase(tag);
    }
  }
  if (found) {
    match(rank, std::move(receive), std::move(arrival));
  } else if (!gone.ok()) {
    receive.done(gone);
  } else {
    control_->wake();
  }
}

void Mailbox::match(int rank, Receive receive, Arrival arrival) {
  const tensor::BufferView& buffer = receive.buffer;
  if (arrival.dtype != buffer.dtype || arrival.count != buffer.count) {
    const base::Status status = base::invalid_argument(
        "recv of {} with tag {} from {}: it sent {}", describe_view(buffer.dtype, buffer.count),
        receive.tag, describe_(rank), describe_view(arrival.dtype, arrival.count));
    fail_(status);
    receive.done(status);
    return;
  }
  FrameHeader reply;
  if (!arrival.offered) {
    if (!arrival.data.empty()) {
      std::memcpy(buffer.data, arrival.data.data(), arrival.data.size());
    }
    reply.type = FrameType::kCredit;
    reply.number = arrival.data.size() + kMessageCost;
    control_->send(rank, reply);
    receive.done(base::OkStatus());
    return;
  }
  if (buffer.size_bytes() == 0) {
    receive.done(base::OkStatus());
  } else {
    const base::MutexLock lock(mutex_);
    peers_[static_cast<std::size_t>(rank)].incoming.emplace(arrival.number, std::move(receive));
  }
  reply.type = FrameType::kAccept;
  reply.number = arrival.number;
  control_->send(rank, reply);
}

base::Status Mailbox::arrive(int rank, std::uint32_t tag, Arrival arrival) {
  Receive receive;
  {
    const base::MutexLock lock(mutex_);
    Peer& peer = peers_[static_cast<std::size_t>(rank)];
    const auto posted = peer.posted.find(tag);
    if (posted == peer.posted.end()) {
      peer.unexpected[tag].push_back(std::move(arrival));
      return base::OkStatus();
    }
    receive = std::move(posted->second.front());
    posted->second.pop_front();
    if (posted->second.empty()) {
      peer.posted.erase(posted);
    }
  }
  match(rank, std::move(receive), std::move(arrival));
  return base::OkStatus();
}

base::Status Mailbox::on_eager(int rank, const FrameHeader& header,
                               std::span<const std::byte> payload) {
  GAMELAN_ASSIGN_OR_RETURN(const tensor::DType dtype, read_dtype(payload));
  const std::size_t bytes = payload.size() - 1;
  if (bytes > kEagerBytes || header.number != bytes / tensor::size_of(dtype) ||
      bytes % tensor::size_of(dtype) != 0) {
    return base::data_loss("an eager message of {} bytes says that it has {} elements", bytes,
                           header.number);
  }
  Arrival arrival{dtype, header.number, false, 0, {}};
  arrival.data.assign(reinterpret_cast<const char*>(payload.data()) + 1, bytes);
  return arrive(rank, header.tag, std::move(arrival));
}

base::Status Mailbox::on_offer(int rank, const FrameHeader& header,
                               std::span<const std::byte> payload) {
  GAMELAN_ASSIGN_OR_RETURN(const tensor::DType dtype, read_dtype(payload));
  if (payload.size() != 9) {
    return base::data_loss("an offer of {} bytes; expected 9", payload.size());
  }
  return arrive(rank, header.tag, {dtype, get_u64(&payload[1]), true, header.number, {}});
}

base::Status Mailbox::on_accept(int rank, const FrameHeader& header) {
  Send send;
  {
    const base::MutexLock lock(mutex_);
    auto& offered = peers_[static_cast<std::size_t>(rank)].offered;
    const auto found = offered.find(header.number);
    if (found == offered.end()) {
      return base::OkStatus();  // ended in the meantime
    }
    send = std::move(found->second);
    offered.erase(found);
  }
  if (send.buffer.size_bytes() == 0) {
    send.done(base::OkStatus());
    return base::OkStatus();
  }
  control_->send_parts(rank, header.number, static_cast<const std::byte*>(send.buffer.data),
                       send.buffer.size_bytes(), std::move(send.done));
  return base::OkStatus();
}

void Mailbox::on_credit(int rank, const FrameHeader& header) {
  const base::MutexLock lock(mutex_);
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  peer.credit = std::min<std::size_t>(kCreditBytes, peer.credit + header.number);
}

base::StatusOr<std::span<std::byte>> Mailbox::on_part(int rank, const FrameHeader& header) {
  const base::MutexLock lock(mutex_);
  auto& incoming = peers_[static_cast<std::size_t>(rank)].incoming;
  const auto found = incoming.find(header.number);
  if (found == incoming.end()) {
    return std::span<std::byte>();  // ended in the meantime
  }
  const Receive& receive = found->second;
  if (header.payload_bytes > receive.buffer.size_bytes() - receive.received) {
    return base::data_loss("a part of {} bytes where {} are missing", header.payload_bytes,
                           receive.buffer.size_bytes() - receive.received);
  }
  return std::span(static_cast<std::byte*>(receive.buffer.data) + receive.received,
                   header.payload_bytes);
}

void Mailbox::on_part_received(int rank, const FrameHeader& header) {
  Done done;
  {
    const base::MutexLock lock(mutex_);
    auto& incoming = peers_[static_cast<std::size_t>(rank)].incoming;
    const auto found = incoming.find(header.number);
    if (found == incoming.end()) {
      return;
    }
    found->second.received += header.payload_bytes;
    if (found->second.received < found->second.buffer.size_bytes()) {
      return;
    }
    done = std::move(found->second.done);
    incoming.erase(found);
  }
  done(base::OkStatus());
}

std::vector<Mailbox::Done> Mailbox::take_all(Peer& peer) {
  std::vector<Done> ended;
  for (auto& [tag, receives] : peer.posted) {
    for (Receive& receive : receives) {
      ended.push_back(std::move(receive.done));
    }
  }
  for (auto& [number, receive] : peer.incoming) {
    ended.push_back(std::move(receive.done));
  }
  for (auto& [number, send] : peer.offered) {
    ended.push_back(std::move(send.done));
  }
  peer.posted.clear();
  peer.incoming.clear();
  peer.offered.clear();
  return ended;
}

void Mailbox::fail_peer(int rank, const base::Status& reason) {
  std::vector<Done> ended;
  {
    const base::MutexLock lock(mutex_);
    Peer& peer = peers_[static_cast<std::size_t>(rank)];
    if (peer.gone.ok()) {
      peer.gone = own_copy(reason);
    }
    ended = take_all(peer);
  }
  for (const Done& done : ended) {
    done(reason);
  }
}

void Mailbox::fail_all(const base::Status& reason) {
  std::size_t size = 0;
  {
    const base::MutexLock lock(mutex_);
    size = peers_.size();
  }
  for (std::size_t rank = 0; rank < size; ++rank) {
    fail_peer(static_cast<int>(rank), reason);
  }
}

std::string Mailbox::late_text(int peer, bool sending, std::uint32_t tag,
                               const tensor::BufferView& buffer) const {
  const std::string what = describe_view(buffer.dtype, buffer.count);
  return sending ? fmt::format("send of {} with tag {} timed out: {} has not asked for it", what,
                               tag, describe_(peer))
                 : fmt::format("recv of {} with tag {} timed out: {} has not sent it", what, tag,
                               describe_(peer));
}

std::string Mailbox::waiting_text() const {
  const base::MutexLock lock(mutex_);
  for (std::size_t rank = 0; rank < peers_.size(); ++rank) {
    const Peer& peer = peers_[rank];
    const auto text = [rank](std::string_view what, const auto& waiting, std::string_view towards) {
      return fmt::format("{} of {} with tag {} {} rank {}", what,
                         describe_view(waiting.buffer.dtype, waiting.buffer.count), waiting.tag,
                         towards, rank);
    };
    if (!peer.posted.empty()) {
      return text("recv", peer.posted.begin()->second.front(), "from");
    }
    if (!peer.offered.empty()) {
      return text("send", peer.offered.begin()->second, "to");
    }
  }
  return "";
}

base::TimePoint Mailbox::expire(base::TimePoint now) {
  base::TimePoint next = base::TimePoint::max();
  std::string late;
  {
    const base::MutexLock lock(mutex_);
    const auto look = [&](int peer, bool sending, const auto& waiting) {
      if (waiting.deadline <= now && late.empty()) {
        late = late_text(peer, sending, waiting.tag, waiting.buffer);
      }
      next = std::min(next, waiting.deadline);
    };
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      const int rank = static_cast<int>(i);
      for (const auto& [tag, receives] : peers_[i].posted) {
        for (const Receive& receive : receives) {
          look(rank, false, receive);
        }
      }
      for (const auto& [number, receive] : peers_[i].incoming) {
        look(rank, false, receive);
      }
      for (const auto& [number, send] : peers_[i].offered) {
        look(rank, true, send);
      }
    }
  }
  if (late.empty()) {
    return next;
  }
  fail_(base::deadline_exceeded("{}", late));
  return base::TimePoint::max();  // everything ends now
}

}  // namespace gamelan::dist
