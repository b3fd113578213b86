#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace gamelan::launch {

struct ProcessInfo {
  pid_t pid = 0;
  std::string name;  ///< the kernel's short name (comm)
};

/// Makes this process adopt descendants whose own parent ends (PR_SET_CHILD_SUBREAPER), so that
/// `descendants` stays complete even for programs that put themselves into the background.
void become_subreaper();

/// Every living process below this one, zombies excluded. Reads /proc; complete for a subreaper
/// except for processes forked while it reads, which is why callers repeat until none is left.
std::vector<ProcessInfo> descendants();

/// Sends `signal` to every descendant (and SIGCONT after it, so that a stopped process acts on it).
/// Returns how many there were.
int signal_descendants(int signal);

/// SIGKILLs and reaps descendants until there are none, at most `timeout_ms`. Reaps every child of
/// this process. Returns false when some could not be ended in time (uninterruptible sleep in the
/// kernel).
bool kill_descendants(int timeout_ms);

}  // namespace gamelan::launch
