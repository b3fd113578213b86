#include "launch/coordinator_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/log.h"
#include "dist/store/store_server.h"
#include "net/socket.h"

namespace gamelan::launch {
namespace {

/// An agent that was told the end, or refused, has this long to close its connection before it is
/// closed here: closing at once could lose the message when the other side's heartbeat is still
/// unread.
constexpr std::chrono::seconds kCloseAfter{2};
/// Connections beyond the agents of the job, so that strangers cannot use up this process's
/// descriptors.
constexpr std::size_t kSpareSessions = 64;

Coordinator::Options coordinator_options(const LaunchOptions& options) {
  return {.run_id = options.run_id,
          .nnodes = options.nnodes,
          .max_restarts = options.max_restarts,
          .join_timeout = options.join_timeout,
          .stop_timeout = options.shutdown_timeout + std::chrono::seconds(15)};
}

bool is_loopback(const std::string& host) {
  return host.rfind("127.", 0) == 0 || host == "::1" || host == "localhost" ||
         host.rfind("::ffff:127.", 0) == 0;
}

}  // namespace

CoordinatorHost::CoordinatorHost(const LaunchOptions& options, base::Fd listener)
    : options_(options),
      listener_(std::move(listener)),
      coordinator_(
          coordinator_options(options), [this](int attempt) { return choose_meeting(attempt); },
          base::Clock::now()) {}

CoordinatorHost::~CoordinatorHost() = default;

base::Status CoordinatorHost::start_store() {
  dist::StoreServerOptions store;
  store.endpoint = {.host = "127.0.0.1", .port = 0};
  if (listener_.valid()) {
    // Where agents can reach this one, their workers can reach the store.
    GAMELAN_ASSIGN_OR_RETURN(const net::Endpoint agents, net::local_endpoint(listener_.get()));
    store.endpoint.host = agents.host;
  }
  store.token = options_.token;
  GAMELAN_ASSIGN_OR_RETURN(store_, dist::StoreServer::start(std::move(store)));
  return base::OkStatus();
}

base::StatusOr<std::unique_ptr<Link>> CoordinatorHost::connect_locally() {
  GAMELAN_ASSIGN_OR_RETURN(auto pair, Link::local_pair());
  sessions_[next_session_++] = Session{.link = std::move(pair.first), .peer = "", .local = true};
  return std::move(pair.second);
}

void CoordinatorHost::watch(PollSet& set) {
  if (listener_.valid() &&
      sessions_.size() < static_cast<std::size_t>(options_.nnodes) + kSpareSessions) {
    set.add(listener_.get(), POLLIN, [this] { accept_ready(); });
  }
  for (const auto& [id, session] : sessions_) {
    set.add(session.link->fd(), session.link->events(), [this, id = id] { session_ready(id); });
  }
}

void CoordinatorHost::accept_ready() {
  auto socket = net::accept(listener_.get(), base::Clock::now());
  if (!socket.ok()) {
    return;
  }
  const auto peer = net::peer_endpoint(socket->get());
  auto link = Link::server(
      *std::move(socket), options_.token,
      {.interval = options_.keep_alive_interval, .max_missed = options_.keep_alive_max_attempt});
  if (link.ok()) {
    sessions_[next_session_++] =
        Session{.link = *std::move(link), .peer = peer.ok() ? net::to_string(*peer) : "?"};
  }
}

void CoordinatorHost::session_ready(int id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) {
    return;
  }
  std::vector<Message> messages;
  const base::Status status = found->second.link->proceed(messages);
  for (const Message& message : messages) {
    coordinator_.receive(id, message, base::Clock::now());
  }
  if (!status.ok()) {
    drop(id, base::message(status));
  }
  deliver();
}

void CoordinatorHost::drop(int id, std::string_view reason) {
  const Session& session = sessions_.at(id);
  if (!session.link->open()) {
    base::log().warn("refused a connection from {}: {}", session.peer, reason);
  } else if (coordinator_.node_rank_of(id) >= 0 && !coordinator_.finished()) {
    base::log().warn("node {} ({}): {}", coordinator_.node_rank_of(id), session.peer, reason);
  }
  coordinator_.lose(id, reason, base::Clock::now());
  sessions_.erase(id);
}

void CoordinatorHost::deliver() {
  for (Coordinator::Outgoing& out : coordinator_.take_outgoing()) {
    const auto session = sessions_.find(out.session);
    if (session == sessions_.end()) {
      continue;
    }
    if (const auto* refused = std::get_if<Refused>(&out.message)) {
      base::log().warn("refused the agent at {}: {}", session->second.peer, refused->reason);
    }
    session->second.link->send(out.message);
    if (out.close) {
      session->second.close_at = base::deadline_after(kCloseAfter);
    }
  }
}

void CoordinatorHost::tick(base::TimePoint now) {
  coordinator_.tick(now);
  deliver();
  std::vector<std::pair<int, std::string>> dead;
  for (const auto& [id, session] : sessions_) {
    const base::Status status = session.link->tick(now);
    if (!status.ok()) {
      dead.emplace_back(id, base::message(status));
    } else if (now >= session.close_at) {
      dead.emplace_back(id, "closed");
    }
  }
  for (const auto& [id, reason] : dead) {
    drop(id, reason);
  }
  deliver();
}

base::TimePoint CoordinatorHost::next_deadline() const {
  base::TimePoint next = coordinator_.next_deadline();
  for (const auto& [id, session] : sessions_) {
    next = std::min({next, session.close_at, session.link->next_deadline()});
  }
  return next;
}

bool CoordinatorHost::finished() const {
  return coordinator_.finished() &&
         std::all_of(sessions_.begin(), sessions_.end(), [](const auto& entry) {
           return entry.second.local || !entry.second.link->open();
         });
}

std::string CoordinatorHost::own_address() const {
  if (!options_.local_addr.empty()) {
    return options_.local_addr;
  }
  if (options_.nnodes == 1) {
    return "127.0.0.1";
  }
  // The address under which another agent has reached this one is one that others can reach; an
  // agent on this same host may have come over loopback, which is good for that host only.
  std::string address;
  for (const auto& [id, session] : sessions_) {
    const auto local = session.local ? base::StatusOr<net::Endpoint>(base::not_found("local"))
                                     : net::local_endpoint(session.link->fd());
    if (local.ok() && coordinator_.node_rank_of(id) >= 0 &&
        (address.empty() || is_loopback(address))) {
      address = local->host.rfind("::ffff:", 0) == 0 ? local->host.substr(7) : local->host;
    }
  }
  return address.empty() ? "127.0.0.1" : address;
}

base::StatusOr<Coordinator::Meeting> CoordinatorHost::choose_meeting(int) {
  Coordinator::Meeting meeting;
  const std::string address = own_address();
  meeting.master_addr = options_.master_addr.empty() ? address : options_.master_addr;
  meeting.store = net::to_string({.host = address, .port = store_->endpoint().port});
  meeting.master_port = options_.master_port;
  if (meeting.master_port == 0) {
    // The previous attempt's port stays reserved while the next one is found, so it is another one.
    GAMELAN_ASSIGN_OR_RETURN(ReservedPort port, reserve_port());
    meeting.master_port = port.port;
    master_port_ = std::move(port);
  }
  return meeting;
}

}  // namespace gamelan::launch
