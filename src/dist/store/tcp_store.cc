#include "dist/store/tcp_store.h"

#include <algorithm>
#include <limits>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "dist/store/store_connection.h"
#include "dist/store/store_protocol.h"
#include "dist/store/store_table.h"

namespace gamelan::dist {
namespace {

// The server keeps the time-outs. A client gives up by itself when the server says nothing for so
// much longer: it is stopped, or its host has gone.
constexpr std::chrono::milliseconds kGrace{1000};
// For a further connection while the store is up; a store that has gone refuses at once.
constexpr std::chrono::milliseconds kReconnectTimeout{5000};
// More than this many calls at the same time open and close connections.
constexpr std::size_t kMaxIdle = 64;

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

/// The address that packets to `endpoint` leave from. Its name may become known only a while after
/// this process has started, as the names of containers do.
base::StatusOr<std::string> own_address_towards(const net::Endpoint& endpoint,
                                                base::TimePoint deadline) {
  for (int attempt = 0;; ++attempt) {
    base::StatusOr<std::string> address = net::source_address_towards(endpoint);
    if (address.ok() || base::Clock::now() >= deadline) {
      return address;
    }
    if (attempt == 0) {
      base::log().warn("store: {}; trying again", base::message(address.status()));
    }
    std::this_thread::sleep_until(
        std::min(deadline, base::deadline_after(std::chrono::milliseconds(100))));
  }
}

/// Where the host of a store listens.
base::StatusOr<net::Endpoint> listen_endpoint(const TcpStoreOptions& options) {
  net::Endpoint endpoint = options.endpoint;
  if (!options.listen_address.empty()) {
    endpoint.host = options.listen_address;
    return endpoint;
  }
  GAMELAN_ASSIGN_OR_RETURN(
      endpoint.host, own_address_towards(options.endpoint, base::deadline_after(options.timeout)));
  if (is_loopback(endpoint.host) && options.endpoint.host != "localhost" &&
      !is_loopback(options.endpoint.host)) {
    base::log().warn(
        "store: '{}' is {} on this machine, so other machines cannot reach the store; name an "
        "address "
        "of the network to let them",
        options.endpoint.host, endpoint.host);
  }
  return endpoint;
}

}  // namespace

class TcpStore::Impl {
 public:
  explicit Impl(TcpStoreOptions options)
      : options_(std::move(options)),
        spin_(std::thread::hardware_concurrency() > 1 ? options_.spin
                                                      : std::chrono::microseconds(0)) {}

  base::Status start();
  base::StatusOr<StoreReply> execute(const StoreRequest& request,
                                     std::chrono::milliseconds timeout);
  void close();
  const net::Endpoint& endpoint() const { return options_.endpoint; }

 private:
  using Connection = std::unique_ptr<StoreConnection>;

  base::StatusOr<Connection> connect(base::TimePoint deadline, bool retry);
  base::StatusOr<Connection> acquire(base::TimePoint deadline);
  void release(Connection connection);
  bool closed();
  std::string where() const { return net::to_string(options_.endpoint); }

  TcpStoreOptions options_;
  net::Endpoint target_;  // what this process connects to
  const std::chrono::microseconds spin_;
  std::unique_ptr<StoreServer> server_;

  base::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Connection> idle_ ABSL_GUARDED_BY(mutex_);
  std::set<StoreConnection*> busy_ ABSL_GUARDED_BY(mutex_);
};

base::Status TcpStore::Impl::start() {
  target_ = options_.endpoint;
  if (options_.is_server) {
    StoreServerOptions server;
    GAMELAN_ASSIGN_OR_RETURN(server.endpoint, listen_endpoint(options_));
    server.token = options_.token;
    GAMELAN_ASSIGN_OR_RETURN(server_, StoreServer::start(std::move(server)));
    options_.endpoint.port = server_->endpoint().port;
    // The host itself goes straight to its own socket, whatever its name resolves to.
    target_ = server_->endpoint();
    if (target_.host == "0.0.0.0" || target_.host == "::") {
      target_.host = target_.host == "::" ? "::1" : "127.0.0.1";
    }
  }
  GAMELAN_ASSIGN_OR_RETURN(Connection first, connect(base::deadline_after(options_.timeout), true));
  base::MutexLock lock(mutex_);
  idle_.push_back(std::move(first));
  return base::OkStatus();
}

base::StatusOr<TcpStore::Impl::Connection> TcpStore::Impl::connect(base::TimePoint deadline,
                                                                   bool retry) {
  base::StatusOr<base::Fd> socket =
      retry ? net::connect_tcp(target_, deadline) : net::connect_tcp_once(target_, deadline);
  if (!socket.ok()) {
    return base::annotate(socket.status(), fmt::format("store at {}", where()));
  }
  GAMELAN_RETURN_IF_ERROR(
      net::authenticate_client(socket->get(), options_.token, kStoreService, deadline));
  return std::make_unique<StoreConnection>(*std::move(socket), spin_);
}

base::StatusOr<TcpStore::Impl::Connection> TcpStore::Impl::acquire(base::TimePoint deadline) {
  {
    base::MutexLock lock(mutex_);
    if (closed_) {
      return base::aborted("the client of the store at {} is closed", where());
    }
    if (!idle_.empty()) {
      Connection connection = std::move(idle_.back());
      idle_.pop_back();
      busy_.insert(connection.get());
      return connection;
    }
  }
  GAMELAN_ASSIGN_OR_RETURN(
      Connection connection,
      connect(std::min(deadline, base::deadline_after(kReconnectTimeout)), false));
  base::MutexLock lock(mutex_);
  if (closed_) {
    return base::aborted("the client of the store at {} is closed", where());
  }
  busy_.insert(connection.get());
  return connection;
}

void TcpStore::Impl::release(Connection connection) {
  std::vector<Connection> dropped;  // closed after the lock is given back
  base::MutexLock lock(mutex_);
  busy_.erase(connection.get());
  if (connection->healthy() && !closed_ && idle_.size() < kMaxIdle) {
    idle_.push_back(std::move(connection));
  } else if (!connection->healthy()) {
    // What ended this one has most likely ended the others.
    dropped.swap(idle_);
  }
}

bool TcpStore::Impl::closed() {
  base::MutexLock lock(mutex_);
  return closed_;
}

base::StatusOr<StoreReply> TcpStore::Impl::execute(const StoreRequest& request,
                                                   std::chrono::milliseconds timeout) {
  if (timeout.count() < 0) {
    return base::invalid_argument("a store's time-out is 0 or more, got {} ms", timeout.count());
  }
  GAMELAN_RETURN_IF_ERROR(check_store_request(request));
  if (timeout.count() == 0) {
    timeout = options_.timeout;
  }
  constexpr std::chrono::milliseconds kLongest{std::numeric_limits<std::uint32_t>::max()};
  const std::chrono::milliseconds bounded = std::min(timeout, kLongest);
  const base::TimePoint deadline = base::deadline_after(bounded + kGrace);
  GAMELAN_ASSIGN_OR_RETURN(Connection connection, acquire(deadline));
  base::StatusOr<StoreReply> reply =
      connection->round_trip(request, static_cast<std::uint32_t>(bounded.count()), deadline);
  const bool answered = connection->healthy();
  release(std::move(connection));
  if (answered) {
    return reply;
  }
  if (closed()) {
    return base::aborted("the client of the store at {} was closed", where());
  }
  return base::annotate(reply.status(), fmt::format("lost the store at {}", where()));
}

void TcpStore::Impl::close() {
  std::vector<Connection> dropped;
  base::MutexLock lock(mutex_);
  closed_ = true;
  dropped.swap(idle_);
  for (StoreConnection* connection : busy_) {
    connection->shut_down();
  }
}

base::StatusOr<std::shared_ptr<TcpStore>> TcpStore::create(TcpStoreOptions options) {
  if (options.timeout.count() <= 0) {
    return base::invalid_argument("the store's time-out is more than 0, got {} ms",
                                  options.timeout.count());
  }
  auto impl = std::make_unique<Impl>(std::move(options));
  GAMELAN_RETURN_IF_ERROR(impl->start());
  return std::shared_ptr<TcpStore>(new TcpStore(std::move(impl)));
}

TcpStore::TcpStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TcpStore::~TcpStore() {
  close();
}
const net::Endpoint& TcpStore::endpoint() const {
  return impl_->endpoint();
}
void TcpStore::close() {
  impl_->close();
}

base::StatusOr<StoreReply> TcpStore::execute(const StoreRequest& request,
                                             std::chrono::milliseconds timeout) {
  return impl_->execute(request, timeout);
}

}  // namespace gamelan::dist
