#include "launch/coordinator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "launch/options.h"

namespace gamelan::launch {
namespace {

std::int64_t unix_time_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Coordinator::Coordinator(Options options, ChooseMeeting choose_meeting, base::TimePoint now)
    : options_(std::move(options)),
      choose_meeting_(std::move(choose_meeting)),
      deadline_(now + options_.join_timeout) {}

void Coordinator::receive(int session, const Message& message, base::TimePoint now) {
  if (const auto* request = std::get_if<Join>(&message)) {
    join(session, *request, now);
    return;
  }
  Node* node = find(session);
  if (node == nullptr || state_ == State::kFinished) {
    return;
  }
  if (const auto* succeeded = std::get_if<Succeeded>(&message)) {
    node->succeeded = succeeded->attempt == attempt_;
    const bool all = std::all_of(nodes_.begin(), nodes_.end(),
                                 [](const auto& entry) { return entry.second.succeeded; });
    if (state_ == State::kRunning && all) {
      finish(0, {});
    }
  } else if (const auto* failed = std::get_if<Failed>(&message)) {
    if (failed->attempt == attempt_ && state_ != State::kGathering) {
      add_failures(failed->failures);
      if (state_ == State::kRunning && !failures_.empty()) {
        const Failure& first = failures_.front();
        begin_stopping(first.message.empty()
                           ? describe(first)
                           : fmt::format("{}: {}", describe(first), first.message),
                       now);
      }
    }
  } else if (const auto* stopped = std::get_if<Stopped>(&message)) {
    node->stopped = node->stopped || stopped->attempt == attempt_;
    end_stopping_if_complete(now);
  } else if (const auto* leaving = std::get_if<Leaving>(&message)) {
    ending_ = fmt::format("job '{}' was ended: node {} '{}' received {}", options_.run_id,
                          node_rank_of(session), node->join.host, signal_name(leaving->signal));
    if (state_ == State::kGathering) {
      finish(1, *ending_);
    } else if (state_ == State::kRunning) {
      begin_stopping(*ending_, now);
    }
  }
}

std::optional<std::string> Coordinator::objection(const Join& join) const {
  if (join.version != kAgentProtocolVersion) {
    return fmt::format(
        "expected agent protocol version {}, got {}: use the same Gamelan everywhere",
        kAgentProtocolVersion, join.version);
  }
  if (join.run_id != options_.run_id) {
    return fmt::format("expected --rdzv-id '{}', got '{}'", options_.run_id, join.run_id);
  }
  if (state_ == State::kFinished) {
    return fmt::format("run '{}' is already finished", options_.run_id);
  }
  if (join.nnodes != options_.nnodes) {
    return fmt::format("expected --nnodes {} as on node 0, got {}", options_.nnodes, join.nnodes);
  }
  if (join.nproc < 1 || join.nproc > 4096) {
    return fmt::format("expected 1 to 4096 processes on a node, got {}", join.nproc);
  }
  if (join.node_rank >= options_.nnodes) {
    return fmt::format("expected a --node-rank below {}, got {}", options_.nnodes, join.node_rank);
  }
  if (join.node_rank >= 0) {
    const auto taken = nodes_.find(join.node_rank);
    if (taken != nodes_.end()) {
      return fmt::format("--node-rank {} is taken by host '{}' (agent pid {})", join.node_rank,
                         taken->second.join.host, taken->second.join.pid);
    }
  }
  if (static_cast<int>(nodes_.size()) == options_.nnodes) {
    return fmt::format("run '{}' already has all its {} nodes", options_.run_id, options_.nnodes);
  }
  return std::nullopt;
}

void Coordinator::join(int session, const Join& request, base::TimePoint now) {
  if (find(session) != nullptr) {
    return;
  }
  if (auto reason = objection(request)) {
    outgoing_.push_back({session, Refused{*std::move(reason)}, /*close=*/true});
    return;
  }
  int rank = request.node_rank;
  for (int candidate = 0; rank < 0; ++candidate) {
    rank = nodes_.contains(candidate) ? -1 : candidate;
  }
  Node& node = nodes_[rank];
  node.session = session;
  node.join = request;
  node.stopped = true;  // nothing of the current attempt runs there
  outgoing_.push_back({session, Welcome{rank}});
  if (state_ == State::kGathering) {
    announce_missing();
    begin_attempt_if_complete(now);
  }
}

void Coordinator::lose(int session, std::string_view reason, base::TimePoint now) {
  const Node* node = find(session);
  if (node == nullptr) {
    return;
  }
  const int rank = node_rank_of(session);
  Failure failure;
  failure.node_rank = rank;
  failure.host = node->join.host;
  failure.time_us = unix_time_us();
  failure.message = fmt::format("its agent (pid {}) {}", node->join.pid, reason);
  nodes_.erase(rank);
  if (state_ == State::kGathering) {
    announce_missing();
  } else if (state_ == State::kRunning) {
    add_failures({failure});
    begin_stopping(describe(failure), now);
  } else if (state_ == State::kStopping) {
    add_failures({failure});
    end_stopping_if_complete(now);
  }
}

void Coordinator::begin_attempt_if_complete(base::TimePoint now) {
  if (static_cast<int>(nodes_.size()) < options_.nnodes) {
    return;
  }
  auto meeting = choose_meeting_(attempt_);
  if (!meeting.ok()) {
    finish(1, fmt::format("job '{}' cannot start: {}", options_.run_id,
                          base::message(meeting.status())));
    return;
  }
  Start start;
  start.attempt = attempt_;
  start.group_world_size = options_.nnodes;
  start.master_addr = meeting->master_addr;
  start.master_port = meeting->master_port;
  start.store = meeting->store;
  for (const auto& [rank, node] : nodes_) {
    start.world_size += node.join.nproc;
  }
  for (auto& [rank, node] : nodes_) {
    node.succeeded = false;
    node.stopped = false;
    outgoing_.push_back({node.session, start});
    start.first_rank += node.join.nproc;
  }
  failures_.clear();
  state_ = State::kRunning;
  deadline_ = base::TimePoint::max();
}

void Coordinator::begin_stopping(const std::string& reason, base::TimePoint now) {
  state_ = State::kStopping;
  deadline_ = now + options_.stop_timeout;
  broadcast(Stop{attempt_, reason});
  end_stopping_if_complete(now);  // no node may be left
}

void Coordinator::end_stopping_if_complete(base::TimePoint now) {
  const bool all = std::all_of(nodes_.begin(), nodes_.end(),
                               [](const auto& entry) { return entry.second.stopped; });
  if (state_ != State::kStopping || !all) {
    return;
  }
  if (ending_) {
    finish(1, *ending_);
    return;
  }
  if (attempt_ == options_.max_restarts) {
    finish(1, fmt::format("job '{}' failed{}", options_.run_id, attempts_text()));
    return;
  }
  ++attempt_;
  state_ = State::kGathering;
  deadline_ = now + options_.join_timeout;
  announce_missing();
  begin_attempt_if_complete(now);
}

std::string Coordinator::attempts_text() const {
  if (options_.max_restarts == 0) {
    return "";
  }
  return fmt::format(" in attempt {} of {} (all {} restart{} used)", attempt_ + 1,
                     options_.max_restarts + 1, options_.max_restarts,
                     options_.max_restarts == 1 ? "" : "s");
}

void Coordinator::tick(base::TimePoint now) {
  if (now < deadline_) {
    return;
  }
  deadline_ = base::TimePoint::max();
  if (state_ == State::kGathering) {
    finish(1, fmt::format("job '{}' cannot {}: after {:.0f} s {} still missing", options_.run_id,
                          attempt_ == 0 ? "start" : "start again",
                          base::seconds(options_.join_timeout), missing_nodes()));
  } else if (state_ == State::kStopping) {
    // Copy: losing a node changes the map.
    std::vector<int> stuck;
    for (const auto& [rank, node] : nodes_) {
      if (!node.stopped) {
        stuck.push_back(node.session);
      }
    }
    ending_ = ending_.value_or(
        fmt::format("job '{}' failed: a node did not stop its workers", options_.run_id));
    for (const int session : stuck) {
      lose(session, "did not stop its workers in time", now);
    }
  }
}

base::TimePoint Coordinator::next_deadline() const {
  return deadline_;
}

void Coordinator::finish(int exit_code, const std::string& headline) {
  state_ = State::kFinished;
  deadline_ = base::TimePoint::max();
  broadcast(Finish{exit_code, headline, failures_}, /*close=*/true);
}

void Coordinator::add_failures(const std::vector<Failure>& failures) {
  failures_.insert(failures_.end(), failures.begin(), failures.end());
}

void Coordinator::broadcast(const Message& message, bool close) {
  for (const auto& [rank, node] : nodes_) {
    outgoing_.push_back({node.session, message, close});
  }
}

void Coordinator::announce_missing() {
  broadcast(Missing{missing_nodes()});
}

std::string Coordinator::missing_nodes() const {
  const int missing = options_.nnodes - static_cast<int>(nodes_.size());
  if (missing == 0) {
    return {};
  }
  std::string list;
  int listed = 0;
  for (int rank = 0; rank < options_.nnodes && listed < 16; ++rank) {
    if (!nodes_.contains(rank)) {
      list += fmt::format("{}{}", listed++ == 0 ? "" : ", ", rank);
    }
  }
  std::string text =
      fmt::format("node{} {}{}", missing == 1 ? "" : "s", list, missing > listed ? ", ..." : "");
  return fmt::format("{} ({} of {} are here)", text, nodes_.size(), options_.nnodes);
}

Coordinator::Node* Coordinator::find(int session) {
  for (auto& [rank, node] : nodes_) {
    if (node.session == session) {
      return &node;
    }
  }
  return nullptr;
}

int Coordinator::node_rank_of(int session) const {
  for (const auto& [rank, node] : nodes_) {
    if (node.session == session) {
      return rank;
    }
  }
  return -1;
}

std::vector<Coordinator::Outgoing> Coordinator::take_outgoing() {
  return std::exchange(outgoing_, {});
}

}  // namespace gamelan::launch
