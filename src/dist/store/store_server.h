#pragma once

#include <chrono>
#include <memory>

#include "base/fd.h"
#include "base/status.h"
#include "net/auth.h"
#include "net/socket.h"

namespace gamelan::dist {

struct StoreServerOptions {
  /// Where to listen; port 0 = any free one. Not used when `listener` is given.
  net::Endpoint endpoint{"127.0.0.1", 0};
  /// A socket that listens already; the server takes it.
  base::Fd listener{};
  /// What clients have to know.
  net::Token token{};
  /// A client that has not finished the handshake by then is cut off.
  std::chrono::milliseconds handshake_timeout{10'000};
  /// How long the server's thread polls after a request before it sleeps; 0 = it sleeps at once.
  /// Polling halves the latency of a burst and takes a CPU from somebody else while it lasts.
  std::chrono::microseconds spin{0};
};

/// Hosts a store for other processes: one event-loop thread that owns the table and every
/// connection (docs/threads.md). Thread-safe.
class StoreServer {
 public:
  static base::StatusOr<std::unique_ptr<StoreServer>> start(StoreServerOptions options);
  /// close() and join().
  ~StoreServer();
  StoreServer(const StoreServer&) = delete;
  StoreServer& operator=(const StoreServer&) = delete;

  /// Where it listens, with the real port.
  const net::Endpoint& endpoint() const { return endpoint_; }

  /// Answers whatever waits with kUnavailable, closes every connection and stops listening.
  /// Idempotent, does not wait.
  void close();
  /// Waits until the thread has ended. REQUIRES: close() was called.
  void join();

 private:
  class Impl;
  StoreServer(net::Endpoint endpoint, std::unique_ptr<Impl> impl);

  const net::Endpoint endpoint_;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace gamelan::dist
