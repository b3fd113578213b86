#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/status.h"
#include "launch/options.h"

namespace gamelan::launch {

class LogRelay;

/// Where a worker's standard streams go; -1 in `*_fd` = the launcher's own.
struct WorkerStreams {
  std::string folder;      ///< holds the files below
  std::string error_file;  ///< for TORCHELASTIC_ERROR_FILE
  base::Fd out;
  base::Fd err;
};

/// The folders of a job's workers, torchrun's layout:
/// <log_dir>/<run_id>_xxxxxx/attempt_N/<local_rank>/{stdout.log, stderr.log, error.json}.
/// Without --log-dir the root is a temporary folder, removed at the end unless streams are kept in
/// it.
class WorkerLogs {
 public:
  static base::StatusOr<std::unique_ptr<WorkerLogs>> create(const LaunchOptions& options);
  ~WorkerLogs();
  WorkerLogs(const WorkerLogs&) = delete;
  WorkerLogs& operator=(const WorkerLogs&) = delete;

  /// Makes the folder of one worker and opens its streams; teed ones run through `relay`, which
  /// may be null when nothing is teed.
  base::StatusOr<WorkerStreams> open(int attempt, int local_rank, LogRelay* relay) const;

  const std::string& root() const { return root_; }
  /// Whether the user asked for files, so that messages should name them.
  bool kept() const { return kept_; }

 private:
  WorkerLogs(const LaunchOptions& options, std::string root, bool kept);
  base::StatusOr<base::Fd> open_stream(int number, const std::string& folder, int local_rank,
                                       LogRelay* relay) const;
  bool on_console(int local_rank) const;

  const LaunchOptions& options_;
  const std::string root_;
  const bool kept_;
};

}  // namespace gamelan::launch
