#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "dist/store/store.h"
#include "dist/transport/mailbox.h"
#include "dist/transport/segment.h"
#include "net/auth.h"

namespace gamelan::dist {

/// Which kind of link two ranks of the same host use.
enum class LinkKind : std::uint8_t {
  kAuto,  ///< shared memory and Unix sockets within a host, TCP across
  kTcp,   ///< TCP everywhere
  kShm,   ///< all ranks must share one host
};

struct TransportOptions {
  int rank = 0;
  int world_size = 1;
  /// Distinguishes groups of one job.
  std::string group_name = "default";
  /// Distinguishes restarts: processes of different generations never talk to each other.
  std::uint64_t generation = 0;
  net::Token token;
  LinkKind links = LinkKind::kAuto;
  /// Where to listen and what to publish: an address of this host that the others reach.
  std::string listen_host = "127.0.0.1";
  /// For forming all links.
  std::chrono::milliseconds timeout{std::chrono::minutes(30)};
  /// How often to log who is missing.
  std::chrono::milliseconds report_interval{5'000};
  std::chrono::milliseconds heartbeat{2'000};
  /// A peer that has sent nothing for so long counts as dead.
  std::chrono::milliseconds silence_limit{30'000};
  /// Size of each rank's own segment, made when all ranks share this host.
  std::size_t segment_bytes = 0;
};

/// Who a rank is.
struct PeerInfo {
  std::string host;
  int pid = 0;
  bool same_host = false;
};

/// The links of one generation of a group: to every other rank an authenticated control connection,
/// read by a thread of the transport, and a data connection for whoever performs an operation; to
/// those on this host also shared segments. Collectives and messages stand on it and open no
/// sockets of their own.
///
/// Thread-safe unless a method says otherwise. docs/formats/transport.md has the bytes.
class Transport {
 public:
  /// Meets the other ranks in `store` and connects to them. Every rank passes the same world size,
  /// name and generation. kDeadlineExceeded names who is missing, on every rank that is there.
  static base::StatusOr<std::unique_ptr<Transport>> form(const std::shared_ptr<Store>& store,
                                                         const TransportOptions& options);
  /// close() and join().
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  int rank() const;
  int size() const;
  std::uint64_t generation() const;
  const std::string& group_name() const;
  const PeerInfo& peer(int rank) const;
  /// "rank 3 (host b, pid 771)".
  std::string describe(int rank) const;
  /// All ranks share this host and its segments.
  bool shares_memory() const;
  /// The ranks on this host outnumber the CPUs they may use: do not spin.
  bool crowded() const;

  /// The data connection to `peer`, nonblocking. One thread at a time uses the data connections.
  int data_socket(int peer) const;
  Mailbox& mailbox();

  /// This rank's own segment (number 0) and those of the others; only when shares_memory().
  std::shared_ptr<Segment> own_segment() const;
  /// Waits for segments whose announcement is still on its way.
  base::StatusOr<std::shared_ptr<Segment>> peer_segment(int peer, std::uint64_t number,
                                                        base::TimePoint deadline);
  /// A further segment, announced to the ranks on this host. Free it with release_segment.
  struct NumberedSegment {
    std::uint64_t number = 0;
    std::shared_ptr<Segment> segment;
  };
  base::StatusOr<NumberedSegment> allocate_segment(std::size_t bytes);
  void release_segment(std::uint64_t number);

  bool failed() const;
  /// Why the group has failed; OK while it has not.
  base::Status failure() const;
  /// Readable once the group has failed.
  int failure_fd() const;
  /// Fails the group here and on every rank. The first reason stays.
  void fail(const base::Status& reason);
  /// Whether `peer` has closed the group in order.
  bool has_left(int peer) const;
  /// The reason for an operation that misses `peer`, whose data connection has closed or who has
  /// left: waits briefly for the control connection to tell, and fails the group.
  base::Status explain_loss(int peer);

  /// What this rank is doing, for the errors of others. Called on the transport's thread; set once.
  void set_reporter(std::function<std::string()> reporter);
  /// Asks `peers` what they are doing; who does not answer within `timeout` is left out.
  std::map<int, std::string> query(const std::vector<int>& peers,
                                   std::chrono::milliseconds timeout);

  /// Says goodbye to every peer, with the failure if there was one. Asynchronous and idempotent.
  void close();
  void join();

 private:
  class Impl;
  explicit Transport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gamelan::dist
