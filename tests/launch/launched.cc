#include "tests/launch/launched.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/clock.h"
#include "launch/spawn.h"

namespace gamelan::testing {
namespace {

std::vector<std::string> environment_with(const std::map<std::string, std::string>& changes) {
  // A test may itself run under a launcher.
  std::map<std::string, std::string> variables;
  for (char** item = environ; *item != nullptr; ++item) {
    const std::string text = *item;
    variables[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
  }
  for (const char* name : {"GAMELAN_TOKEN", "OMP_NUM_THREADS", "RANK", "WORLD_SIZE"}) {
    variables.erase(name);
  }
  for (const auto& [name, value] : changes) {
    if (value.empty()) {
      variables.erase(name);
    } else {
      variables[name] = value;
    }
  }
  std::vector<std::string> result;
  for (const auto& [name, value] : variables) {
    result.push_back(name + "=" + value);
  }
  return result;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (const std::string& text : strings) {
    result.push_back(const_cast<char*>(text.c_str()));
  }
  result.push_back(nullptr);
  return result;
}

struct Pipe {
  base::Fd in;
  base::Fd out;
};

Pipe make_pipe() {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  return {base::Fd(fds[0]), base::Fd(fds[1])};
}

/// Appends what can be read; closes the descriptor at its end (on a terminal that is EIO).
void read_some(base::Fd& fd, std::string& into) {
  std::array<char, 4096> buffer;
  const ssize_t bytes = read(fd.get(), buffer.data(), buffer.size());
  if (bytes > 0) {
    into.append(buffer.data(), static_cast<std::size_t>(bytes));
  } else if (bytes == 0 || errno != EINTR) {
    fd.reset();
  }
}

}  // namespace

Launched::Launched(const std::vector<std::string>& arguments, const Options& options) {
  std::vector<std::string> all{GAMELAN_PROGRAM};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const std::vector<std::string> environment = environment_with(options.environment);
  std::vector<char*> argv = pointers(all);
  std::vector<char*> envp = pointers(environment);
  Pipe input = make_pipe();
  Pipe output = make_pipe();
  Pipe errors = make_pipe();
  EXPECT_EQ(write(input.out.get(), options.input.data(), options.input.size()),
            static_cast<ssize_t>(options.input.size()));
  int terminal = -1;
  pid_ = options.on_terminal ? forkpty(&terminal, nullptr, nullptr, nullptr) : fork();
  if (pid_ == 0) {
    if (!options.on_terminal) {
      dup2(input.in.get(), 0);
      dup2(output.out.get(), 1);
      dup2(errors.out.get(), 2);
    }
    ::signal(SIGHUP, options.ignore_hangup ? SIG_IGN : SIG_DFL);
    execve(argv[0], argv.data(), envp.data());
    _exit(126);
  }
  if (options.on_terminal) {
    fcntl(terminal, F_SETFD, FD_CLOEXEC);
    out_ = base::Fd(terminal);
  } else {
    out_ = std::move(output.in);
    err_ = std::move(errors.in);
  }
}

Launched::~Launched() {
  if (!waited_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

pid_t Launched::agent_pid() const {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    std::string text;
    std::getline(file, text);
    const std::size_t close_at = text.rfind(')');
    if (close_at != std::string::npos &&
        std::atoi(text.c_str() + std::min(close_at + 4, text.size())) == pid_) {
      return std::atoi(entry.path().filename().c_str());
    }
  }
  ADD_FAILURE() << "the guard " << pid_ << " has no child";
  return -1;
}

void Launched::signal(int number) const {
  kill(pid_, number);
}

void Launched::type(const std::string& keys) const {
  EXPECT_EQ(write(out_.get(), keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

bool Launched::read_until(const std::function<bool()>& satisfied, std::chrono::milliseconds limit) {
  const auto deadline = base::deadline_after(limit);
  while (!satisfied()) {
    std::array<pollfd, 2> fds{{{.fd = out_.get(), .events = POLLIN, .revents = 0},
                               {.fd = err_.get(), .events = POLLIN, .revents = 0}}};
    if ((!out_.valid() && !err_.valid()) ||
        poll(fds.data(), fds.size(), base::poll_timeout(deadline)) == 0) {
      return satisfied();
    }
    if (fds[0].revents != 0) {
      read_some(out_, output_);
    }
    if (fds[1].revents != 0) {
      read_some(err_, errors_);
    }
  }
  return true;
}

bool Launched::output_has(const std::string& text, int count) {
  return read_until([&] { return count_of(output_, text) >= count; }, kPatience);
}

bool Launched::errors_have(const std::string& text, int count) {
  return read_until([&] { return count_of(errors_, text) >= count; }, kPatience);
}

bool Launched::everything_is_gone(std::chrono::milliseconds limit) {
  return read_until([&] { return !out_.valid(); }, limit);
}

int Launched::wait() {
  if (!waited_) {
    const bool ended = read_until([&] { return !out_.valid() && !err_.valid(); }, kPatience);
    EXPECT_TRUE(ended) << "still running after " << kPatience.count() << " s; output:\n"
                       << output_ << "\nerrors:\n"
                       << errors_;
    if (!ended) {
      kill(pid_, SIGKILL);
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    waited_ = true;
    exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  return exit_;
}

Result run_gamelan(const std::vector<std::string>& arguments, const Launched::Options& options) {
  Launched launched(arguments, options);
  const int exit = launched.wait();
  return {exit, launched.output(), launched.errors()};
}

std::vector<std::string> run_shell(int nproc, const std::string& script,
                                   const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"run", "--standalone", "--nproc-per-node",
                                     std::to_string(nproc)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  arguments.insert(arguments.end(), {"sh", "-c", script});
  return arguments;
}

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

std::string make_temporary_folder() {
  std::string path = ::testing::TempDir() + "gamelan_launch_XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace gamelan::testing
