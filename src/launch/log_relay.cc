#include "launch/log_relay.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

namespace gamelan::launch {
namespace {

/// A line that never ends is cut here, so that a worker cannot make the agent hold it all.
constexpr std::size_t kMaxLineBytes = 64 * 1024;

/// A pipe or terminal that poll(2) calls writable takes this much without blocking (PIPE_BUF).
constexpr std::size_t kChunkBytes = 4096;

void notify(int event_fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(event_fd, &one, sizeof(one));
}

}  // namespace

LogRelay::LogRelay()
    : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { run(); }) {}

LogRelay::~LogRelay() {
  {
    const base::MutexLock lock(mutex_);
    closing_ = true;
  }
  notify(stop_.get());
  notify(wake_.get());
  thread_.join();
}

void LogRelay::write_all(int fd, std::string_view text) const {
  while (!text.empty()) {
    std::array<pollfd, 2> fds{{{.fd = fd, .events = POLLOUT, .revents = 0},
                               {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
    if (poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) {
      continue;
    }
    if (fds[1].revents != 0) {
      return;
    }
    const ssize_t written = write(fd, text.data(), std::min(text.size(), kChunkBytes));
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) {
      continue;
    }
    if (written <= 0) {
      return;  // a full disk or a closed console must not end the job
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void LogRelay::add(Stream stream) {
  {
    const base::MutexLock lock(mutex_);
    added_.push_back(std::move(stream));
    ++open_count_;
  }
  notify(wake_.get());
}

void LogRelay::drain(base::TimePoint deadline) {
  const base::MutexLock lock(mutex_);
  while (open_count_ > 0 && changed_.wait_until(mutex_, deadline)) {
  }
}

bool LogRelay::copy_some(Open& open) {
  std::array<char, 16 * 1024> buffer;
  const ssize_t bytes = read(open.stream.source.get(), buffer.data(), buffer.size());
  if (bytes < 0 && (errno == EINTR || errno == EAGAIN)) {
    return true;
  }
  std::string console;
  const auto end_line = [&] {
    console += open.stream.prefix + open.line + "\n";
    open.line.clear();
  };
  for (const char byte : std::string_view(buffer.data(), bytes > 0 ? bytes : 0)) {
    if (byte == '\n' || open.line.size() == kMaxLineBytes) {
      end_line();
    }
    if (byte != '\n') {
      open.line.push_back(byte);
    }
  }
  if (bytes <= 0 && !open.line.empty()) {
    end_line();
  }
  if (bytes > 0 && open.stream.file.valid()) {
    write_all(open.stream.file.get(), {buffer.data(), static_cast<std::size_t>(bytes)});
  }
  if (open.stream.console_fd >= 0) {
    write_all(open.stream.console_fd, console);
  }
  return bytes > 0;
}

void LogRelay::run() {
  std::vector<Open> open;
  while (true) {
    {
      const base::MutexLock lock(mutex_);
      if (closing_) {
        return;
      }
      for (Stream& stream : added_) {
        open.push_back({std::move(stream), {}});
      }
      added_.clear();
    }
    std::vector<pollfd> fds{{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
    for (const Open& one : open) {
      fds.push_back({.fd = one.stream.source.get(), .events = POLLIN, .revents = 0});
    }
    poll(fds.data(), fds.size(), -1);
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(wake_.get(), &count, sizeof(count));
    std::vector<Open> still_open;
    int ended = 0;
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (fds[i + 1].revents == 0 || copy_some(open[i])) {
        still_open.push_back(std::move(open[i]));
      } else {
        ++ended;
      }
    }
    open = std::move(still_open);
    if (ended > 0) {
      const base::MutexLock lock(mutex_);
      open_count_ -= ended;
      changed_.notify_all();
    }
  }
}

}  // namespace gamelan::launch
