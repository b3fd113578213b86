#include "launch/spawn.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <sstream>

#include "base/fd.h"

namespace gamelan::launch {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (const std::string& text : strings) {
    result.push_back(const_cast<char*>(text.c_str()));
  }
  result.push_back(nullptr);
  return result;
}

struct ChildPlan {
  const SpawnSpec* spec;
  const SignalState* signals;
  pid_t parent;
  int error_pipe;
  char** argv;
  char** shell_argv;
  char** envp;
};

/// Puts `from` at `to` for good; a descriptor that is already there only loses close-on-exec.
bool place(int from, int to) {
  if (from < 0) {
    return true;
  }
  return from == to ? fcntl(to, F_SETFD, 0) == 0 : dup2(from, to) >= 0;
}

/// Runs in the forked child of a process that may have threads: async-signal-safe calls only.
[[noreturn]] void become_program(const ChildPlan& plan) {
  const SpawnSpec& spec = *plan.spec;
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != plan.parent) {
    _exit(1);  // the launcher ended before the line above took effect
  }
  if (spec.own_process_group) {
    setpgid(0, 0);
  }
  sigaction(SIGPIPE, &plan.signals->sigpipe, nullptr);
  sigprocmask(SIG_SETMASK, &plan.signals->mask, nullptr);
  if (place(spec.stdin_fd, 0) && place(spec.stdout_fd, 1) && place(spec.stderr_fd, 2)) {
    execve(spec.path.c_str(), plan.argv, plan.envp);
    if (errno == ENOEXEC) {
      execve("/bin/sh", plan.shell_argv, plan.envp);
    }
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(plan.error_pipe, &error, sizeof(error));
  _exit(127);
}

}  // namespace

base::StatusOr<pid_t> spawn(const SpawnSpec& spec, const SignalState& original) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return base::errno_status(errno, "pipe2");
  }
  const base::Fd error_in(pipe_fds[0]);
  base::Fd error_out(pipe_fds[1]);
  std::vector<char*> argv = pointers(spec.arguments);
  std::vector<char*> envp = pointers(spec.environment);
  std::vector<std::string> shell_arguments{"/bin/sh", spec.path};
  for (std::size_t i = 1; i < spec.arguments.size(); ++i) {
    shell_arguments.push_back(spec.arguments[i]);
  }
  std::vector<char*> shell_argv = pointers(shell_arguments);
  const ChildPlan plan{.spec = &spec,
                       .signals = &original,
                       .parent = getpid(),
                       .error_pipe = error_out.get(),
                       .argv = argv.data(),
                       .shell_argv = shell_argv.data(),
                       .envp = envp.data()};
  const pid_t pid = fork();
  if (pid < 0) {
    return base::errno_status(errno, "fork");
  }
  if (pid == 0) {
    become_program(plan);
  }
  if (spec.own_process_group) {
    setpgid(pid, pid);  // in both processes: whichever comes first
  }
  error_out.reset();
  int error = 0;
  ssize_t bytes = 0;
  do {
    bytes = read(error_in.get(), &error, sizeof(error));
  } while (bytes < 0 && errno == EINTR);
  if (bytes == sizeof(error)) {
    return base::errno_status(error, "exec {}", spec.path);  // the zombie is reaped with the others
  }
  return pid;
}

base::StatusOr<std::string> find_program(const std::string& name) {
  struct stat info {};
  const auto is_file = [&](const std::string& path) {
    return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
  };
  if (name.find('/') != std::string::npos) {
    if (!is_file(name)) {
      return base::not_found("program '{}': no such file", name);
    }
    if (access(name.c_str(), X_OK) != 0) {
      return base::permission_denied("program '{}' is not executable (chmod +x)", name);
    }
    return name;
  }
  const char* path = std::getenv("PATH");
  std::stringstream folders(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    if (is_file(candidate) && access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  if (is_file(name)) {
    return base::not_found("program '{}' is not in PATH; did you mean ./{}?", name, name);
  }
  return base::not_found("program '{}' is not in PATH", name);
}

}  // namespace gamelan::launch
