#pragma once

#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mutex.h"

namespace gamelan::launch {

/// Copies workers' output to their log files and, line by line with a prefix, to the console. Its
/// thread owns the streams; a console that blocks holds up the workers that write to it, never the
/// agent's loop.
class LogRelay {
 public:
  struct Stream {
    base::Fd source;      ///< read end of the worker's pipe
    base::Fd file;        ///< gets the bytes as they are; invalid = none
    int console_fd = -1;  ///< gets prefixed lines; borrowed; -1 = none
    std::string prefix;
  };

  LogRelay();
  /// Gives up what is not written yet, also when the console blocks; call `drain` before.
  ~LogRelay();
  LogRelay(const LogRelay&) = delete;
  LogRelay& operator=(const LogRelay&) = delete;

  /// Thread-safe.
  void add(Stream stream);
  /// Waits until every stream has reached its end and been written, at most until `deadline`.
  void drain(base::TimePoint deadline);

 private:
  struct Open {
    Stream stream;
    std::string line;  ///< begun, not ended yet
  };

  void run();
  bool copy_some(Open& open);
  void write_all(int fd, std::string_view text) const;

  base::Fd wake_;  // eventfd: streams were added, or the end has come
  base::Fd stop_;  // eventfd: the end has come; stays readable
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<Stream> added_ ABSL_GUARDED_BY(mutex_);
  int open_count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace gamelan::launch
