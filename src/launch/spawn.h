#pragma once

#include <sys/types.h>

#include <csignal>
#include <string>
#include <vector>

#include "base/status.h"

namespace gamelan::launch {

/// What a process had before the launcher changed its signals; workers get it back.
struct SignalState {
  sigset_t mask{};
  struct sigaction sigpipe {};
};

/// One process to start. Descriptors are borrowed; -1 leaves the launcher's own.
struct SpawnSpec {
  std::string path;                      ///< the executable, no search
  std::vector<std::string> arguments;    ///< argv, the name first
  std::vector<std::string> environment;  ///< "NAME=value"
  int stdin_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;
  bool own_process_group = true;
};

/// Starts the process with the signals of `original`. The kernel kills it (SIGKILL) as soon as the
/// calling thread ends. A file without "#!" that is no binary is run by /bin/sh, as shells do.
/// Errors of exec(2) are returned, so a pid means that the program runs. Call from a thread that
/// outlives the process.
base::StatusOr<pid_t> spawn(const SpawnSpec& spec, const SignalState& original);

/// Finds the program as a shell would (PATH, or the path when it holds a slash). kNotFound or
/// kPermissionDenied say what was looked for, and hint at "./name" when that exists.
base::StatusOr<std::string> find_program(const std::string& name);

}  // namespace gamelan::launch
