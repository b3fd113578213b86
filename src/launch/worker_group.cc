#include "launch/worker_group.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/log.h"
#include "launch/process_tree.h"

namespace gamelan::launch {
namespace {

using std::chrono::milliseconds;

/// What workers leave behind gets this long between SIGTERM and SIGKILL, or the workers' own grace
/// if shorter.
constexpr milliseconds kLeftoverGrace{3'000};
/// Between sweeps while processes die of SIGKILL; their deaths wake the loop earlier.
constexpr milliseconds kSweepInterval{20};
/// A process that survives SIGKILL this long hangs inside the kernel.
constexpr milliseconds kGiveUp{10'000};

std::int64_t unix_time_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void log_leftovers(const std::vector<ProcessInfo>& left) {
  std::string names;
  for (std::size_t i = 0; i < left.size() && i < 8; ++i) {
    names += fmt::format("{}{} ({})", i == 0 ? "" : ", ", left[i].pid, left[i].name);
  }
  base::log().info("ending {} process{} that the workers left behind: {}{}", left.size(),
                   left.size() == 1 ? "" : "es", names, left.size() > 8 ? ", ..." : "");
}

}  // namespace

WorkerGroup::WorkerGroup(int node_rank, std::string host, SignalState original)
    : node_rank_(node_rank), host_(std::move(host)), original_(original) {}

std::vector<Failure> WorkerGroup::start(const std::vector<WorkerPlan>& plans) {
  phase_ = Phase::kRunning;
  std::vector<Failure> failures;
  for (const WorkerPlan& plan : plans) {
    Worker& worker = workers_.emplace_back();
    worker.plan = plan;
    auto pid = spawn(plan.spec, original_);
    if (!pid.ok()) {
      Failure failure = failure_of(worker, 127 << 8);
      failure.message = base::message(pid.status());
      failures.push_back(std::move(failure));
      continue;
    }
    worker.pid = *pid;
    worker.running = true;
    no_children_ = false;
  }
  return failures;
}

Failure WorkerGroup::failure_of(const Worker& worker, int wait_status) const {
  Failure failure;
  failure.rank = worker.plan.rank;
  failure.local_rank = worker.plan.local_rank;
  failure.node_rank = node_rank_;
  failure.host = host_;
  failure.pid = worker.pid;
  failure.signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
  failure.exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 0;
  failure.time_us = unix_time_us();
  if (!worker.plan.error_file.empty()) {
    failure.message = read_error_file(worker.plan.error_file);
  }
  failure.log = worker.plan.log_folder;
  return failure;
}

std::vector<Failure> WorkerGroup::reap() {
  std::vector<Failure> failures;
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    const auto worker = std::find_if(workers_.begin(), workers_.end(),
                                     [&](const Worker& w) { return w.running && w.pid == pid; });
    if (worker == workers_.end()) {
      continue;  // an adopted grandchild
    }
    worker->running = false;
    worker->succeeded = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!worker->succeeded && phase_ == Phase::kRunning) {
      failures.push_back(failure_of(*worker, status));
    }
  }
  no_children_ = pid < 0 && errno == ECHILD;
  std::stable_sort(failures.begin(), failures.end(), [](const Failure& a, const Failure& b) {
    return (a.signal != 0) > (b.signal != 0);
  });
  proceed();
  return failures;
}

void WorkerGroup::signal_workers(int signal) {
  for (const Worker& worker : workers_) {
    if (worker.running) {
      kill(worker.pid, signal);
    }
  }
}

void WorkerGroup::stop(int signal, base::Duration grace) {
  if (phase_ != Phase::kRunning) {
    return;
  }
  phase_ = Phase::kTerminating;
  grace_ = grace;
  deadline_ = base::deadline_after(grace);
  if (signal != 0) {
    signal_workers(signal);
    signal_workers(SIGCONT);  // a stopped worker acts on the signal only when it goes on
  }
  proceed();
}

void WorkerGroup::stop_now() {
  if (phase_ == Phase::kRunning || phase_ == Phase::kTerminating) {
    kill_all();
    proceed();
  }
}

void WorkerGroup::end_leftovers() {
  leftovers_signalled_ = true;
  const auto left = descendants();
  if (left.empty()) {
    return;
  }
  if (all_succeeded()) {
    log_leftovers(left);  // after a failure they are no surprise
  }
  deadline_ = base::deadline_after(std::min<base::Duration>(grace_, kLeftoverGrace));
  signal_descendants(SIGTERM);
}

void WorkerGroup::kill_all() {
  if (phase_ != Phase::kKilling) {
    phase_ = Phase::kKilling;
    give_up_ = base::deadline_after(kGiveUp);
  }
  signal_workers(SIGKILL);
  signal_descendants(SIGKILL);
  deadline_ = base::deadline_after(kSweepInterval);
}

void WorkerGroup::proceed() {
  if (!stopping()) {
    return;
  }
  if (phase_ == Phase::kTerminating && running() == 0 && !no_children_ && !leftovers_signalled_) {
    end_leftovers();
  }
  // Every descendant hangs below some child of this process, so no children means nothing is left.
  if (no_children_) {
    phase_ = Phase::kStopped;
    deadline_ = base::TimePoint::max();
  }
}

void WorkerGroup::tick(base::TimePoint now) {
  if (!stopping() || now < deadline_) {
    return;
  }
  if (phase_ == Phase::kTerminating && running() > 0) {
    base::log().warn("{} worker{} did not end within {:.1f} s of SIGTERM: sending SIGKILL",
                     running(), running() == 1 ? "" : "s", base::seconds(grace_));
  }
  if (now >= give_up_) {
    base::log().error("some processes survive SIGKILL (they hang in the kernel); going on");
    phase_ = Phase::kStopped;
    deadline_ = base::TimePoint::max();
    return;
  }
  kill_all();
}

int WorkerGroup::running() const {
  return static_cast<int>(std::count_if(workers_.begin(), workers_.end(),
                                        [](const Worker& worker) { return worker.running; }));
}

bool WorkerGroup::all_succeeded() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& worker) { return worker.succeeded; });
}

}  // namespace gamelan::launch
