// Agent's dealings with its workers and with node 0's orders about them.

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "base/log.h"
#include "launch/agent.h"
#include "launch/worker_environment.h"

namespace gamelan::launch {

void Agent::handle(const Message& message) {
  if (const auto* welcome = std::get_if<Welcome>(&message)) {
    welcomed_ = true;
    node_rank_ = welcome->node_rank;
    if (state_ == State::kJoining) {
      state_ = State::kReady;
    }
    if (options_.nnodes > 1) {
      base::log().info("joined job '{}' as node {} of {}", options_.run_id, node_rank_,
                       options_.nnodes);
    }
  } else if (const auto* refused = std::get_if<Refused>(&message)) {
    base::log().error("cannot join job '{}': node 0 at {} refuses this agent: {}", options_.run_id,
                      options_.rdzv_endpoint, refused->reason);
    done(1);
  } else if (const auto* missing = std::get_if<Missing>(&message)) {
    missing_ = missing->nodes;
  } else if (const auto* start = std::get_if<Start>(&message)) {
    if (state_ == State::kReady) {
      start_workers(*start);
    }
  } else if (const auto* stop = std::get_if<Stop>(&message)) {
    stop_workers(*stop);
  } else if (const auto* end = std::get_if<Finish>(&message)) {
    finish(*end);
  }
}

std::vector<WorkerPlan> Agent::plan_workers(const Start& start, std::vector<WorkerStreams>& streams,
                                            base::Status& status) {
  std::vector<WorkerPlan> plans;
  for (int local_rank = 0; local_rank < options_.nproc_per_node; ++local_rank) {
    auto opened = logs_->open(start.attempt, local_rank, relay_.get());
    if (!opened.ok()) {
      status = opened.status();
      return {};
    }
    streams.push_back(*std::move(opened));
    const WorkerStreams& own = streams.back();
    WorkerPlan& plan = plans.emplace_back();
    plan.rank = start.first_rank + local_rank;
    plan.local_rank = local_rank;
    plan.error_file = own.error_file;
    plan.log_folder = logs_->kept() ? own.folder : "";
    plan.spec.path = options_.command.front();
    plan.spec.arguments = options_.command;
    plan.spec.environment =
        worker_environment(options_, start, node_rank_, local_rank, own.error_file);
    plan.spec.stdin_fd = plan.rank == 0 ? -1 : dev_null_.get();
    plan.spec.stdout_fd = own.out.get();
    plan.spec.stderr_fd = own.err.get();
    plan.spec.own_process_group = !share_group_;
  }
  return plans;
}

void Agent::start_workers(const Start& start) {
  attempt_ = start.attempt;
  missing_.clear();
  state_ = State::kRunning;
  if (attempt_ > 0) {
    base::log().info("starting attempt {} of {}: ranks {} to {} of {}", attempt_ + 1,
                     options_.max_restarts + 1, start.first_rank,
                     start.first_rank + options_.nproc_per_node - 1, start.world_size);
  }
  group_ = std::make_unique<WorkerGroup>(node_rank_, host_name_, context_.original);
  // The streams stay open here until the workers have their copies.
  std::vector<WorkerStreams> streams;
  base::Status status;
  const std::vector<WorkerPlan> plans = plan_workers(start, streams, status);
  std::vector<Failure> failures = group_->start(plans);
  if (!status.ok()) {
    Failure failure;
    failure.node_rank = node_rank_;
    failure.host = host_name_;
    failure.message = base::message(status);
    failures.push_back(std::move(failure));
  }
  if (!failures.empty()) {
    link_->send(Failed{attempt_, std::move(failures)});
    state_ = State::kStopping;
    group_->stop(SIGTERM, options_.shutdown_timeout);
  }
  children_changed();
}

void Agent::children_changed() {
  std::vector<Failure> failures = group_->reap();
  if (state_ == State::kRunning && !failures.empty()) {
    link_->send(Failed{attempt_, std::move(failures)});
    state_ = State::kStopping;
    group_->stop(SIGTERM, options_.shutdown_timeout);
  } else if (state_ == State::kRunning && group_->running() == 0) {
    state_ = State::kSweeping;
    group_->stop(SIGTERM, options_.shutdown_timeout);  // what the workers left behind
  }
  report_if_stopped();
}

void Agent::report_if_stopped() {
  if (!group_->stopped()) {
    return;
  }
  if (state_ == State::kSweeping) {
    state_ = State::kReady;
    link_->send(Succeeded{attempt_});
  } else if (state_ == State::kStopping) {
    state_ = State::kReady;
    link_->send(Stopped{attempt_});
  } else if (state_ == State::kLeaving && attempt_ >= 0) {
    if (link_ == nullptr) {
      done(1);
      return;
    }
    link_->send(Stopped{attempt_});
    attempt_ = -1;  // reported
  }
}

void Agent::stop_workers(const Stop& stop) {
  if (stop.attempt != attempt_) {
    return;
  }
  if (state_ == State::kLeaving) {
    return;  // on the way already
  }
  base::log().warn("{}; ending the workers of attempt {}", stop.reason, attempt_ + 1);
  if (state_ == State::kRunning || state_ == State::kSweeping) {
    state_ = State::kStopping;
    group_->stop(SIGTERM, options_.shutdown_timeout);
    report_if_stopped();
  } else if (state_ == State::kReady) {
    link_->send(Stopped{attempt_});  // they had all succeeded
  }
}

void Agent::finish(const Finish& message) {
  if (message.exit_code != 0) {
    base::log().error("{}", summarize(message.headline, message.failures));
  }
  done(message.exit_code);
}

}  // namespace gamelan::launch
