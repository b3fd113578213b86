#pragma once

#include <csignal>
#include <initializer_list>
#include <utility>
#include <vector>

namespace gamelan::train {

/// While it lives, the given signals only set a flag: for TrainingArguments::should_stop, so that a
/// job that is told to end writes a snapshot first. A second signal of the same kind ends the
/// process as it would have without. One object at a time in a process.
///
///   StopSignal stop;
///   arguments.should_stop = [&stop] { return stop.requested(); };
class StopSignal {
 public:
  explicit StopSignal(std::initializer_list<int> signals = {SIGTERM});
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool requested() const;
  /// The exit code of a process that ended because of the signal, as a shell reports it.
  static constexpr int kExitCode = 128 + SIGTERM;

 private:
  std::vector<std::pair<int, struct sigaction>> before_;
};

}  // namespace gamelan::train
