#include "dist/store/store_server.h"

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "dist/store/store_protocol.h"
#include "dist/store/store_table.h"
#include "net/event_loop.h"
#include "net/frame_server.h"

namespace gamelan::dist {

/// Everything but start, close and join runs on the loop's thread.
class StoreServer::Impl {
 public:
  Impl(base::Fd listener, StoreServerOptions options, std::string where);
  ~Impl();

  void start();
  void close();
  void join() { loop_.join(); }

 private:
  using PeerId = net::FrameServer::PeerId;
  using WaiterId = StoreTable::WaiterId;

  struct Waiter {
    PeerId peer;
    std::uint32_t request_id;
    net::EventLoop::TimerId timer;
    std::size_t key_bytes;
  };
  struct Waiting {  // of one peer
    std::unordered_set<WaiterId> ids;
    std::size_t key_bytes = 0;
  };

  void on_frame(PeerId peer, const net::Frame& frame);
  void on_close(PeerId peer);
  void park(PeerId peer, std::uint32_t request_id, TimedRequest request);
  void on_done(WaiterId waiter, const base::StatusOr<StoreReply>& reply);
  void reply(PeerId peer, std::uint32_t request_id, const base::StatusOr<StoreReply>& reply);

  const std::string where_;
  StoreTable table_;
  std::unordered_map<WaiterId, Waiter> waiters_;
  std::unordered_map<PeerId, Waiting> waiting_of_;
  std::string reply_frame_;  // its memory is kept from reply to reply
  // The loop is destroyed last of the two: the server's sockets live in it.
  net::EventLoop loop_;
  net::FrameServer server_;
};

StoreServer::Impl::Impl(base::Fd listener, StoreServerOptions options, std::string where)
    : where_(std::move(where)),
      loop_({.name = "store server", .spin = options.spin}),
      server_(loop_, std::move(listener),
              {.format = kStoreFrames,
               .token = std::move(options.token),
               .service = std::string(kStoreService),
               .handshake_timeout = options.handshake_timeout},
              {.on_frame = [this](PeerId peer, const net::Frame& frame) { on_frame(peer, frame); },
               .on_close = [this](PeerId peer) { on_close(peer); }}) {}

StoreServer::Impl::~Impl() {
  close();
  join();
}

void StoreServer::Impl::start() {
  loop_.post([this] { server_.start(); });
}

void StoreServer::Impl::close() {
  // A second call finds the loop closed, or a server that does nothing when it is closed again.
  loop_.post([this] {
    table_.cancel_all(base::unavailable("the store at {} has been shut down", where_));
    server_.close();
  });
  loop_.close();
}

void StoreServer::Impl::on_frame(PeerId peer, const net::Frame& frame) {
  base::StatusOr<TimedRequest> request = decode_request(frame.header.kind, frame.body);
  if (!request.ok()) {
    server_.close_peer(peer, request.status());
    return;
  }
  const std::optional<base::StatusOr<StoreReply>> result = table_.execute(request->request);
  if (result.has_value()) {
    reply(peer, frame.header.id, *result);
  } else {
    park(peer, frame.header.id, *std::move(request));
  }
}

void StoreServer::Impl::park(PeerId peer, std::uint32_t request_id, TimedRequest request) {
  Waiting& waiting = waiting_of_[peer];
  std::size_t key_bytes = 0;
  for (const std::string& key : request.request.keys) {
    key_bytes += key.size();
  }
  if (waiting.ids.size() >= kMaxWaitingRequests ||
      waiting.key_bytes + key_bytes > kMaxStoreMessageBytes) {
    reply(peer, request_id,
          base::resource_exhausted(
              "at most {} requests of one connection may wait, with {} bytes of keys",
              kMaxWaitingRequests, kMaxStoreMessageBytes));
    return;
  }
  if (request.timeout_ms == 0) {
    reply(peer, request_id, wait_timeout(request.request.keys, 0));
    return;
  }
  const std::chrono::milliseconds timeout(request.timeout_ms);
  std::vector<std::string> keys = request.request.keys;
  const WaiterId id =
      table_.park(std::move(request.request),
                  [this](WaiterId waiter, const base::StatusOr<StoreReply>& result) {
                    on_done(waiter, result);
                  });
  const net::EventLoop::TimerId timer =
      loop_.call_at(base::deadline_after(timeout), [this, id, keys = std::move(keys), timeout] {
        table_.cancel(id, wait_timeout(keys, timeout.count()));
      });
  waiting.ids.insert(id);
  waiting.key_bytes += key_bytes;
  waiters_.emplace(id, Waiter{peer, request_id, timer, key_bytes});
}

void StoreServer::Impl::on_done(WaiterId id, const base::StatusOr<StoreReply>& result) {
  const auto entry = waiters_.find(id);
  const Waiter waiter = entry->second;
  waiters_.erase(entry);
  loop_.cancel(waiter.timer);
  const auto of_peer = waiting_of_.find(waiter.peer);
  if (of_peer != waiting_of_.end()) {
    of_peer->second.ids.erase(id);
    of_peer->second.key_bytes -= waiter.key_bytes;
  }
  reply(waiter.peer, waiter.request_id, result);
}

void StoreServer::Impl::on_close(PeerId peer) {
  const auto found = waiting_of_.find(peer);
  if (found == waiting_of_.end()) {
    return;
  }
  const std::unordered_set<WaiterId> waiters = std::move(found->second.ids);
  waiting_of_.erase(found);
  for (const WaiterId waiter : waiters) {
    table_.cancel(waiter, base::unavailable("its client has gone"));
  }
}

void StoreServer::Impl::reply(PeerId peer, std::uint32_t request_id,
                              const base::StatusOr<StoreReply>& reply) {
  encode_reply(reply, request_id, reply_frame_);
  server_.send(peer, reply_frame_);
}

base::StatusOr<std::unique_ptr<StoreServer>> StoreServer::start(StoreServerOptions options) {
  base::Fd listener = std::move(options.listener);
  if (!listener.valid()) {
    GAMELAN_ASSIGN_OR_RETURN(listener, net::listen_tcp(options.endpoint));
  }
  GAMELAN_ASSIGN_OR_RETURN(net::Endpoint endpoint, net::local_endpoint(listener.get()));
  auto impl =
      std::make_unique<Impl>(std::move(listener), std::move(options), net::to_string(endpoint));
  impl->start();
  return std::unique_ptr<StoreServer>(new StoreServer(std::move(endpoint), std::move(impl)));
}

StoreServer::StoreServer(net::Endpoint endpoint, std::unique_ptr<Impl> impl)
    : endpoint_(std::move(endpoint)), impl_(std::move(impl)) {}
StoreServer::~StoreServer() = default;
void StoreServer::close() {
  impl_->close();
}
void StoreServer::join() {
  impl_->join();
}

}  // namespace gamelan::dist
