#include "launch/guard.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "launch/options.h"
#include "launch/process_tree.h"

namespace gamelan::launch {
namespace {

constexpr int kSweepTimeoutMs = 10'000;

sigset_t to_set(const std::vector<int>& signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) {
    sigaddset(&set, signal);
  }
  return set;
}

/// Waits for the agent, forwarding signals. A signal that the terminal sends (SI_KERNEL) reaches
/// the whole foreground process group, the agent included, and is not sent twice.
int wait_for_agent(pid_t agent, const sigset_t& set) {
  while (true) {
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid == agent) {
        return status;
      }
    }
    siginfo_t info;
    const int signal = sigwaitinfo(&set, &info);
    if (signal > 0 && signal != SIGCHLD && info.si_code != SI_KERNEL) {
      kill(agent, signal);
    }
  }
}

}  // namespace

std::vector<int> watched_signals(const std::vector<int>& ending) {
  std::vector<int> candidates = ending;
  if (candidates.empty()) {
    candidates = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
  }
  candidates.push_back(SIGUSR1);
  candidates.push_back(SIGUSR2);
  std::vector<int> watched{SIGCHLD};
  for (const int signal : candidates) {
    struct sigaction current {};
    sigaction(signal, nullptr, &current);
    if (current.sa_handler != SIG_IGN) {
      watched.push_back(signal);
    }
  }
  return watched;
}

int run_guarded(const std::vector<int>& signals, const std::function<int(GuardedContext)>& body) {
  GuardedContext context;
  const sigset_t set = to_set(signals);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &context.original.sigpipe);
  signal(SIGCHLD, SIG_DFL);  // an inherited SIG_IGN would reap the children before we could
  sigprocmask(SIG_BLOCK, &set, &context.original.mask);
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    base::log().error("pipe2: {}", base::message(base::errno_status(errno, "pipe2")));
    return 1;
  }
  base::Fd alive_read(pipe_fds[0]);
  base::Fd alive_write(pipe_fds[1]);
  become_subreaper();
  std::fflush(nullptr);
  const pid_t agent = fork();
  if (agent < 0) {
    base::log().error("{}", base::message(base::errno_status(errno, "fork")));
    return 1;
  }
  if (agent == 0) {
    alive_write.reset();
    context.guard_gone = std::move(alive_read);
    become_subreaper();
    const int code = body(std::move(context));
    std::exit(code);
  }
  alive_read.reset();
  // `killall gamelan` then reaches the agent only, and this process cleans up behind it.
  prctl(PR_SET_NAME, "gamelan-guard", 0, 0, 0);
  const int status = wait_for_agent(agent, set);
  if (!kill_descendants(kSweepTimeoutMs)) {
    base::log().error("some processes of the job could not be killed");
  }
  if (WIFSIGNALED(status)) {
    base::log().error("the agent (pid {}) was killed by {}; its workers were killed", agent,
                      signal_name(WTERMSIG(status)));
    return 1;
  }
  return WEXITSTATUS(status);
}

}  // namespace gamelan::launch
