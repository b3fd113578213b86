#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "dist/store/store.h"
#include "dist/store/store_server.h"
#include "net/auth.h"
#include "net/socket.h"

namespace gamelan::dist {

struct TcpStoreOptions {
  /// Where the store is. With `is_server` the port may be 0: TcpStore::endpoint() tells the chosen
  /// one.
  net::Endpoint endpoint{"127.0.0.1", 29500};
  /// This process hosts the store (rank 0).
  bool is_server = false;
  /// Where a host listens: an address of this machine, or "0.0.0.0" or "::" for all of them. Empty
  /// = the address that packets to `endpoint` leave from: the loopback address for a job on one
  /// machine.
  std::string listen_address{};
  /// What the processes of the job share.
  net::Token token{};
  /// How long to try to connect, and the time-out of calls without one of their own.
  std::chrono::milliseconds timeout = Store::kDefaultTimeout;
  /// How long a call polls for its reply before it sleeps; 0 = it sleeps at once, also on a machine
  /// with one CPU. A call whose replies come later than that stops polling.
  std::chrono::microseconds spin{50};
};

/// A client of a StoreServer, which it may host too (docs/formats/store.md).
///
/// Thread-safe: every call in flight has a connection of its own, kept for the next call, so a
/// thread that waits for a key hinders no other. A call goes out and comes back on the calling
/// thread. When the server has gone, calls fail at once with kUnavailable; later calls try to
/// connect once more.
class TcpStore : public Store {
 public:
  /// Hosts the store if asked to, and connects. kPermissionDenied: another token; kAlreadyExists:
  /// the port is in use; kDeadlineExceeded: nobody was there in time.
  static base::StatusOr<std::shared_ptr<TcpStore>> create(TcpStoreOptions options);
  /// Closes, and shuts the server down when it is hosted here. REQUIRES: no call is in flight.
  ~TcpStore() override;
  TcpStore(const TcpStore&) = delete;
  TcpStore& operator=(const TcpStore&) = delete;

  base::StatusOr<StoreReply> execute(const StoreRequest& request,
                                     std::chrono::milliseconds timeout) override;

  /// Where the store is, with the real port: what other processes connect to.
  const net::Endpoint& endpoint() const;

  /// Ends the calls in flight and all later ones with kAborted. Idempotent. A server hosted here
  /// goes on until the destructor.
  void close();

 private:
  class Impl;
  explicit TcpStore(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace gamelan::dist
