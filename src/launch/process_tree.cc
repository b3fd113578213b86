#include "launch/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/fd.h"

namespace gamelan::launch {
namespace {

struct Entry {
  ProcessInfo info;
  pid_t parent = 0;
  bool zombie = false;
};

/// Reads /proc/<pid>/stat: "pid (comm) state ppid ..."; comm may hold spaces and parentheses.
std::optional<Entry> read_entry(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const base::Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 512> buffer;
  const ssize_t bytes = file.valid() ? read(file.get(), buffer.data(), buffer.size()) : -1;
  if (bytes <= 0) {
    return std::nullopt;
  }
  const std::string_view text(buffer.data(), static_cast<std::size_t>(bytes));
  const std::size_t open_at = text.find('(');
  const std::size_t close_at = text.rfind(')');
  if (open_at == std::string_view::npos || close_at == std::string_view::npos ||
      close_at + 4 >= text.size()) {
    return std::nullopt;
  }
  Entry entry;
  entry.info.pid = pid;
  entry.info.name = text.substr(open_at + 1, close_at - open_at - 1);
  const char state = text[close_at + 2];
  entry.zombie = state == 'Z' || state == 'X';
  const char* begin = text.data() + close_at + 4;
  std::from_chars(begin, text.data() + text.size(), entry.parent);
  return entry;
}

std::unordered_multimap<pid_t, Entry> read_all_by_parent() {
  std::unordered_multimap<pid_t, Entry> children;
  DIR* proc = opendir("/proc");
  if (proc == nullptr) {
    return children;
  }
  while (const dirent* item = readdir(proc)) {
    const std::string_view name = item->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size()) {
      continue;
    }
    if (auto entry = read_entry(pid)) {
      const pid_t parent = entry->parent;
      children.emplace(parent, *std::move(entry));
    }
  }
  closedir(proc);
  return children;
}

}  // namespace

void become_subreaper() {
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

std::vector<ProcessInfo> descendants() {
  const auto children = read_all_by_parent();
  std::vector<ProcessInfo> found;
  std::vector<pid_t> to_visit{getpid()};
  while (!to_visit.empty()) {
    const pid_t parent = to_visit.back();
    to_visit.pop_back();
    const auto [begin, end] = children.equal_range(parent);
    for (auto it = begin; it != end; ++it) {
      to_visit.push_back(it->second.info.pid);
      if (!it->second.zombie) {
        found.push_back(it->second.info);
      }
    }
  }
  return found;
}

int signal_descendants(int signal) {
  const auto processes = descendants();
  for (const ProcessInfo& process : processes) {
    kill(process.pid, signal);
    if (signal != SIGKILL) {
      kill(process.pid, SIGCONT);
    }
  }
  return static_cast<int>(processes.size());
}

bool kill_descendants(int timeout_ms) {
  const auto deadline = base::deadline_after(std::chrono::milliseconds(timeout_ms));
  sigset_t child_set;
  sigemptyset(&child_set);
  sigaddset(&child_set, SIGCHLD);
  while (true) {
    const int left = signal_descendants(SIGKILL);
    pid_t reaped = 0;
    while ((reaped = waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    if (reaped < 0 && errno == ECHILD) {
      return true;
    }
    if (base::poll_timeout(deadline) == 0) {
      return left == 0;
    }
    // Woken by the next death; the short limit covers processes that were forked during the sweep.
    const timespec pause{.tv_sec = 0, .tv_nsec = 5'000'000};
    sigtimedwait(&child_set, nullptr, &pause);
  }
}

}  // namespace gamelan::launch
