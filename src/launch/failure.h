#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gamelan::launch {

/// How one worker, or a whole node, failed. Times are Unix microseconds of the reporting host.
struct Failure {
  int rank = -1;  ///< -1 = not a worker: the node itself
  int local_rank = -1;
  int node_rank = -1;
  std::string host;
  std::int64_t pid = 0;
  int exit_code = 0;  ///< when `signal` is 0
  int signal = 0;     ///< that killed it
  std::int64_t time_us = 0;
  std::string message;  ///< from the worker's error file, or why the node failed
  std::string log;      ///< the worker's log folder, when its streams were redirected
};

/// The message of an error file in torch's format, {"message": {"message": "...", ...}} or
/// {"message": "..."}; any other text is returned as it is (at most 4 KiB); empty when there is no
/// file.
std::string read_error_file(const std::string& path);

/// "exited with code 3" or "was killed by signal 9 (SIGKILL)".
std::string how_it_ended(const Failure& failure);
/// "rank 3 (local rank 1, node 1 'b', pid 771) was killed by signal 9 (SIGKILL)".
std::string describe(const Failure& failure);

/// The exit summary of a failed job: the first failure is the root cause. `headline` says what was
/// going on, for example "job 'x' failed in attempt 2 of 3".
std::string summarize(std::string_view headline, const std::vector<Failure>& failures);

}  // namespace gamelan::launch
