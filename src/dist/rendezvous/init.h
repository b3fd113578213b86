#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "dist/collective/process_group.h"
#include "dist/store/store.h"
#include "net/auth.h"

namespace gamelan::dist {

/// How a process finds the others of its job, as torch.distributed.init_process_group.
struct InitOptions {
  /// "cpu" picks shared memory within a host and TCP across hosts; "gloo" is accepted for it; "tcp"
  /// forces TCP.
  std::string backend = "cpu";
  /// "env://", "tcp://host:port", each with optional ?rank=&world_size=.
  std::string init_method = "env://";
  /// -1 = from the init method or the environment (RANK, WORLD_SIZE).
  int rank = -1;
  int world_size = -1;
  /// For forming the group and for each of its operations.
  std::chrono::milliseconds timeout{std::chrono::minutes(30)};
  /// Unset = GAMELAN_TOKEN, else an empty token.
  std::optional<net::Token> token;
  /// Processes of different generations (restarts) never talk to each other. Unset =
  /// TORCHELASTIC_RESTART_COUNT, else 0.
  std::optional<std::uint64_t> generation;
  /// Where the links of this rank listen: an address of this host that the others reach. Empty =
  /// GAMELAN_LISTEN_HOST, else the one that leads to the store: the loopback address for a job on
  /// one host.
  std::string listen_host;
  /// How often the links show that they are alive.
  std::chrono::milliseconds heartbeat{2'000};
  /// A rank that has shown nothing for so long counts as dead. One whose process has ended is
  /// noticed at once.
  std::chrono::milliseconds silence_limit{30'000};
};

/// A joined job: the store that rank 0 hosts (or the agent's) and the group of all ranks.
struct Job {
  std::shared_ptr<Store> store;
  std::unique_ptr<ProcessGroup> group;
};

/// Blocks until every rank has arrived. While it waits it logs every 5 s which ranks are missing;
/// at the deadline the error says so on every rank that is present.
base::StatusOr<Job> init_process_group(const InitOptions& options = {});

/// Forms a group over an existing store; every rank passes the same `name` and `generation`.
base::StatusOr<std::unique_ptr<ProcessGroup>> form_group(std::shared_ptr<Store> store, int rank,
                                                         int world_size, const std::string& name,
                                                         const InitOptions& options = {});

}  // namespace gamelan::dist
