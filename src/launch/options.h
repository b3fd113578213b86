#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "net/auth.h"

namespace gamelan::launch {

/// Which of a worker's standard streams something applies to; the numbers are torchrun's.
enum class Streams { kNone = 0, kOut = 1, kErr = 2, kAll = 3 };

inline bool has_out(Streams streams) {
  return (static_cast<int>(streams) & 1) != 0;
}
inline bool has_err(Streams streams) {
  return (static_cast<int>(streams) & 2) != 0;
}

/// torchrun's `-r`/`-t` argument: one value for all local ranks ("3") or a list by local rank
/// ("0:1,1:2").
class StreamSpec {
 public:
  StreamSpec() = default;
  static base::StatusOr<StreamSpec> parse(std::string_view text);

  Streams of(int local_rank) const;
  /// Whether any local rank has anything but kNone.
  bool any() const;

 private:
  Streams all_ = Streams::kNone;
  std::vector<std::pair<int, Streams>> by_rank_;
};

/// What `gamelan run` starts and how; names and defaults are torchrun's.
struct LaunchOptions {
  int nnodes = 1;  ///< agents that make up the job
  int node_rank =
      -1;  ///< -1 = the agent that can bind the endpoint is 0, the others in order of arrival
  int nproc_per_node = 1;  ///< workers on this node; nodes may differ
  int cpus = 1;            ///< processors that the workers of this node share, for OMP_NUM_THREADS
  std::string rdzv_endpoint;    ///< host:port where node 0's agent listens; unused by a single node
  std::string run_id = "none";  ///< agents with another id are refused
  int max_restarts = 0;         ///< restarts of the whole group, over all nodes
  std::string master_addr;      ///< MASTER_ADDR; empty = chosen
  int master_port = 0;          ///< MASTER_PORT; 0 = a fresh free port on node 0 for each attempt
  std::string local_addr;       ///< the address other nodes reach this one at; empty = found
  std::string role = "default";  ///< ROLE_NAME and the prefix of teed lines
  std::string log_dir;   ///< folder for redirected streams and error files; empty = temporary
  StreamSpec redirects;  ///< streams written to files only
  StreamSpec tee;        ///< streams written to files and, with a prefix, to the console
  std::vector<int>
      local_ranks_filter;  ///< local ranks whose streams reach the console; empty = all
  std::chrono::milliseconds shutdown_timeout{30'000};  ///< from SIGTERM to SIGKILL
  std::chrono::milliseconds join_timeout{600'000};     ///< until all nodes must have joined
  std::chrono::milliseconds keep_alive_interval{
      5'000};                      ///< between heartbeats of a silent connection
  int keep_alive_max_attempt = 3;  ///< missed heartbeats after which an agent counts as dead
  net::Token token;                ///< of the job; empty = none
  std::vector<int>
      signals_to_handle;  ///< end the job when the agent gets one; empty = TERM INT HUP QUIT
  std::vector<std::string> command;  ///< the program's path and its arguments
};

/// NVIDIA devices of this machine.
int gpu_count();
/// torchrun's --nproc-per-node: a number, "cpu" (`cpus`), "gpu" or "auto" (GPUs if there are any,
/// else `cpus`).
base::StatusOr<int> parse_nproc(std::string_view text, int cpus);
/// torchrun's --nnodes: "N" or "N:N".
base::StatusOr<int> parse_nnodes(std::string_view text);
/// torchrun's --rdzv-conf: "key=value,..."; keys: join_timeout, timeout, keep_alive_interval
/// (seconds), keep_alive_max_attempt. Unknown keys are errors.
base::Status apply_rdzv_conf(std::string_view text, LaunchOptions& options);
/// "SIGTERM,SIGINT" or without "SIG", or numbers.
base::StatusOr<std::vector<int>> parse_signals(std::string_view text);
/// "0,2" -> {0, 2}.
base::StatusOr<std::vector<int>> parse_int_list(std::string_view text, std::string_view what);

/// Checks what can be checked before anything starts (node rank within nnodes, endpoint present,
/// port free to parse).
base::Status validate(const LaunchOptions& options);

/// "SIGKILL" for 9.
std::string signal_name(int number);

}  // namespace gamelan::launch
