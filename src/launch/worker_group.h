#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/clock.h"
#include "launch/failure.h"
#include "launch/spawn.h"

namespace gamelan::launch {

/// One worker to start.
struct WorkerPlan {
  SpawnSpec spec;
  int rank = 0;
  int local_rank = 0;
  std::string error_file;  ///< empty = none
  std::string log_folder;  ///< named in failures; empty = none
};

/// The workers of one attempt on this node: starts them, learns how they end, and ends them
/// together with everything they have started. The only owner of child processes: `reap` waits for
/// every child of this process, adopted ones included. Used by one thread, which must outlive the
/// workers (see spawn).
class WorkerGroup {
 public:
  WorkerGroup(int node_rank, std::string host, SignalState original);

  /// Starts all plans; a program that cannot be executed is a failure (exit code 127) like any
  /// other.
  std::vector<Failure> start(const std::vector<WorkerPlan>& plans);

  /// Call on SIGCHLD. Returns the workers that failed on their own, deaths by a signal first: when
  /// several have ended since the last call, those that exited with a code did so because of the
  /// others.
  std::vector<Failure> reap();

  /// Sends `signal` to every running worker.
  void signal_workers(int signal);
  /// Ends the attempt: `signal` to the workers (0 = they have it already), then, when these are
  /// gone, SIGTERM to what they left behind, and SIGKILL to everything once `grace` is over.
  void stop(int signal, base::Duration grace);
  /// Goes to SIGKILL at once.
  void stop_now();
  /// Acts on deadlines that have passed.
  void tick(base::TimePoint now);
  base::TimePoint next_deadline() const { return deadline_; }

  int running() const;
  bool all_succeeded() const;
  /// After `stop`: nothing that the workers started is left.
  bool stopped() const { return phase_ == Phase::kStopped; }
  bool stopping() const { return phase_ == Phase::kTerminating || phase_ == Phase::kKilling; }

 private:
  enum class Phase { kIdle, kRunning, kTerminating, kKilling, kStopped };
  struct Worker {
    pid_t pid = 0;
    WorkerPlan plan;
    bool running = false;
    bool succeeded = false;
  };

  Failure failure_of(const Worker& worker, int wait_status) const;
  void end_leftovers();
  void kill_all();
  void proceed();

  const int node_rank_;
  const std::string host_;
  const SignalState original_;
  std::vector<Worker> workers_;
  Phase phase_ = Phase::kIdle;
  base::TimePoint deadline_ = base::TimePoint::max();
  base::TimePoint give_up_ = base::TimePoint::max();
  base::Duration grace_{};
  bool leftovers_signalled_ = false;
  bool no_children_ = true;
};

}  // namespace gamelan::launch
