#pragma once

#include <functional>
#include <vector>

#include "base/fd.h"
#include "launch/spawn.h"

namespace gamelan::launch {

/// What the guarded body is given.
struct GuardedContext {
  base::Fd guard_gone;   ///< becomes readable (end of file) when the guard has died
  SignalState original;  ///< signals as they were before run_guarded
};

/// Splits the process in two so that no single `kill -9` can leave processes behind:
///   - the guard (the process that was started, whose pid the user knows) forwards signals to its
///   child,
///     passes the child's exit code on, and ends whatever the child leaves behind;
///   - the child runs `body`, ends everything below it when the guard dies, and then exits.
/// Both adopt orphaned descendants. Returns in the guard only, with the body's exit code; the child
/// exits inside.
///
/// Call from main while the process has one thread. `signals` are blocked in both processes; the
/// body reads them from a signalfd. `context` for the body carries what workers must get back.
int run_guarded(const std::vector<int>& signals, const std::function<int(GuardedContext)>& body);

/// The signals that the launcher takes notice of: those that end the job, those it passes on and
/// SIGCHLD. A signal ignored on entry (nohup) stays ignored and is left out.
std::vector<int> watched_signals(const std::vector<int>& ending);

}  // namespace gamelan::launch
