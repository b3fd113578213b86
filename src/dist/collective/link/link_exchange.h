#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "dist/collective/operation.h"
#include "dist/transport/transport.h"

namespace gamelan::dist {

/// One operation over the data connections: every pair of ranks exchanges the operation's signature
/// and a list of pieces, each way, all at the same time. A piece may have to wait for a round:
/// round k is over when every piece that was received for it has come and `on_round(k)` has run,
/// after those before it. One thread, one use.
class LinkExchange {
 public:
  static constexpr std::uint32_t kNoRound = UINT32_MAX;

  LinkExchange(Transport& transport, const Operation& operation);

  /// Pieces move in the order they are added, each not before `rounds` rounds are over.
  void send(int peer, const std::byte* data, std::size_t bytes, std::uint32_t rounds = 0);
  /// `round`: the one that this piece belongs to.
  void receive(int peer, std::byte* data, std::size_t bytes, std::uint32_t rounds = 0,
               std::uint32_t round = kNoRound);
  /// Moves everything. Rounds are 0 … rounds - 1.
  base::Status run(std::uint32_t rounds = 0,
                   const std::function<void(std::uint32_t)>& on_round = {});

 private:
  static constexpr std::size_t kHeaderBytes = 64;
  struct Piece {
    std::byte* data;
    std::size_t bytes;
    std::uint32_t gate;
    std::uint32_t round;
  };
  struct Stream {
    std::vector<Piece> pieces;
    std::size_t next = 0;  ///< first piece that is not complete
    std::size_t done = 0;  ///< bytes of it
  };
  struct Peer {
    Stream out;
    Stream in;
    std::array<std::byte, kHeaderBytes> out_header{};
    std::array<std::byte, kHeaderBytes> in_header{};
  };

  void encode_header(Peer& peer) const;
  base::Status check_header(int rank);
  base::Status advance_in(int rank, std::size_t bytes);
  void advance_out(Peer& peer, std::size_t bytes);
  base::StatusOr<bool> write_some(int rank);
  base::StatusOr<bool> read_some(int rank);
  void close_rounds();
  base::Status wait_for_sockets();
  base::Status pass(bool* progressed);
  std::vector<int> silent_peers() const;

  Transport& transport_;
  const Operation& operation_;
  const int rank_;
  std::vector<Peer> peers_;
  std::vector<std::uint32_t> pending_;  // pieces that each round still waits for
  std::uint32_t rounds_ = 0;
  std::uint32_t over_ = 0;
  std::function<void(std::uint32_t)> on_round_;
  std::size_t left_ = 0;  // pieces, both ways
};

}  // namespace gamelan::dist
