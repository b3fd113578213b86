#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "launch/coordinator_host.h"
#include "launch/dialer.h"
#include "launch/guard.h"
#include "launch/link.h"
#include "launch/log_relay.h"
#include "launch/options.h"
#include "launch/worker_group.h"
#include "launch/worker_logs.h"

namespace gamelan::launch {

/// One node's part of a job: joins the other nodes, starts the workers when node 0 says so, reports
/// how they end, and ends them when told. One event loop on the calling thread (docs/launch.md has
/// its states); it sleeps in poll(2) and wakes for signals, messages and deadlines only.
class Agent {
 public:
  Agent(const LaunchOptions& options, GuardedContext context);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  /// Runs the job to its end and returns the exit code: 0 all workers of all nodes succeeded,
  /// else 1.
  int run();

 private:
  enum class State { kJoining, kReady, kRunning, kSweeping, kStopping, kLeaving, kDone };

  base::Status set_up();
  base::StatusOr<base::Fd> listen_as_host(const net::Endpoint& endpoint) const;
  void watch(PollSet& set);
  base::TimePoint next_deadline() const;
  void tick(base::TimePoint now);

  // Joining.
  void dial();
  void dialed();
  void join(std::unique_ptr<Link> link);
  void notice_waiting(base::TimePoint now);

  // Node 0's messages.
  void link_ready();
  void handle(const Message& message);
  void start_workers(const Start& start);
  std::vector<WorkerPlan> plan_workers(const Start& start, std::vector<WorkerStreams>& streams,
                                       base::Status& status);
  void stop_workers(const Stop& stop);
  void finish(const Finish& message);

  // The workers and the outside world.
  void signals_ready();
  void handle_signal(int signal, bool from_terminal);
  void leave(int signal, bool workers_have_it);
  void children_changed();
  void report_if_stopped();
  void lose_link(const std::string& reason);
  void guard_gone();
  /// Ends run() with this code once no worker is left.
  void done(int code);

  const LaunchOptions& options_;
  GuardedContext context_;
  const std::string host_name_;
  /// In the foreground of a terminal the workers stay in the agent's process group, so that they
  /// can read the keyboard and Ctrl-C and Ctrl-Z reach them as they reach any program.
  const bool share_group_;
  State state_ = State::kJoining;
  int exit_code_ = 1;
  base::Fd signals_;
  base::Fd dev_null_;
  std::unique_ptr<CoordinatorHost> host_;
  std::unique_ptr<Dialer> dialer_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<WorkerLogs> logs_;
  std::unique_ptr<LogRelay> relay_;
  std::unique_ptr<WorkerGroup> group_;
  int attempt_ = -1;
  int node_rank_ = -1;
  bool welcomed_ = false;
  std::string missing_ = "other nodes";
  base::TimePoint join_deadline_;
  base::TimePoint redial_at_ = base::TimePoint::max();
  base::TimePoint next_notice_;
  base::TimePoint leave_deadline_ = base::TimePoint::max();
  base::TimePoint left_at_{};
  int leaving_signal_ = 0;
};

/// Runs `agent` for `options` under a guard (guard.h) and returns the exit code. Call from main
/// while the process has one thread.
int run_job(const LaunchOptions& options);

}  // namespace gamelan::launch
