#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "launch/messages.h"

namespace gamelan::launch {

/// Decides, on node 0, when the workers of all nodes start, stop and start again. A state machine
/// without sockets, clocks or threads: events go in with the time they happened, messages come out
/// by `take_outgoing`.
///
///   gathering --all nodes have joined--> running --all succeeded--> finished
///   running   --a worker failed, or a node went--> stopping
///   stopping  --every node has stopped; restarts left--> gathering (at once running when no node
///   is missing) stopping  --every node has stopped; none left, or a node was told to end-->
///   finished gathering --deadline--> finished
///
/// Sessions are the caller's names for connections. Used by one thread.
class Coordinator {
 public:
  struct Options {
    std::string run_id;
    int nnodes = 1;
    int max_restarts = 0;
    base::Duration join_timeout = std::chrono::minutes(10);
    /// How long nodes may take to stop after they were told: their grace period and some slack.
    base::Duration stop_timeout = std::chrono::seconds(40);
  };
  /// Where the workers of an attempt meet; asked anew for each attempt.
  struct Meeting {
    std::string master_addr;
    int master_port = 0;
    std::string store;
  };
  using ChooseMeeting = std::function<base::StatusOr<Meeting>(int attempt)>;
  struct Outgoing {
    int session = 0;
    Message message;
    bool close = false;  ///< close the session after this message
  };

  Coordinator(Options options, ChooseMeeting choose_meeting, base::TimePoint now);

  void receive(int session, const Message& message, base::TimePoint now);
  /// The session's connection has ended, or its node is silent.
  void lose(int session, std::string_view reason, base::TimePoint now);
  /// Acts on deadlines that have passed.
  void tick(base::TimePoint now);
  base::TimePoint next_deadline() const;

  std::vector<Outgoing> take_outgoing();
  bool finished() const { return state_ == State::kFinished; }
  /// The node's rank, or -1 before it has joined.
  int node_rank_of(int session) const;

 private:
  enum class State { kGathering, kRunning, kStopping, kFinished };
  struct Node {
    int session = 0;
    Join join;
    bool succeeded = false;
    bool stopped = false;
  };

  void join(int session, const Join& join, base::TimePoint now);
  std::optional<std::string> objection(const Join& join) const;
  void begin_attempt_if_complete(base::TimePoint now);
  void begin_stopping(const std::string& reason, base::TimePoint now);
  void end_stopping_if_complete(base::TimePoint now);
  void finish(int exit_code, const std::string& headline);
  void add_failures(const std::vector<Failure>& failures);
  void broadcast(const Message& message, bool close = false);
  void announce_missing();
  std::string missing_nodes() const;
  Node* find(int session);
  std::string attempts_text() const;

  const Options options_;
  const ChooseMeeting choose_meeting_;
  State state_ = State::kGathering;
  base::TimePoint deadline_;
  int attempt_ = 0;
  std::map<int, Node> nodes_;  ///< by node rank
  std::vector<Failure> failures_;
  std::optional<std::string> ending_;  ///< why no restart may follow
  std::vector<Outgoing> outgoing_;
};

}  // namespace gamelan::launch
