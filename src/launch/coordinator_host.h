#pragma once

#include <map>
#include <memory>
#include <optional>

#include "base/fd.h"
#include "launch/coordinator.h"
#include "launch/link.h"
#include "launch/options.h"
#include "launch/poll_set.h"
#include "launch/reserved_port.h"

namespace gamelan::dist {
class StoreServer;
}

namespace gamelan::launch {

/// Node 0's side of the job: the listening socket, a link to every agent, the coordinator that
/// decides, and the store in GAMELAN_STORE. Runs on the agent's event loop (the store has a thread
/// of its own). Used by one thread.
class CoordinatorHost {
 public:
  /// `listener` is invalid for a job of a single node.
  CoordinatorHost(const LaunchOptions& options, base::Fd listener);
  ~CoordinatorHost();
  CoordinatorHost(const CoordinatorHost&) = delete;
  CoordinatorHost& operator=(const CoordinatorHost&) = delete;

  /// Starts the store of GAMELAN_STORE; on loopback for a job of a single node.
  base::Status start_store();
  /// Adds the link of this process's own agent and gives its other end.
  base::StatusOr<std::unique_ptr<Link>> connect_locally();

  void watch(PollSet& set);
  void tick(base::TimePoint now);
  base::TimePoint next_deadline() const;
  /// The job is over and every other agent has been told and has gone.
  bool finished() const;

 private:
  struct Session {
    std::unique_ptr<Link> link;
    std::string peer;  ///< address, for messages
    bool local = false;
    base::TimePoint close_at = base::TimePoint::max();
  };

  void accept_ready();
  void session_ready(int id);
  void drop(int id, std::string_view reason);
  void deliver();
  base::StatusOr<Coordinator::Meeting> choose_meeting(int attempt);
  std::string own_address() const;

  const LaunchOptions& options_;
  base::Fd listener_;
  Coordinator coordinator_;
  std::map<int, Session> sessions_;
  int next_session_ = 0;
  std::optional<ReservedPort> master_port_;
  std::unique_ptr<dist::StoreServer> store_;
};

}  // namespace gamelan::launch
