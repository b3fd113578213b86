#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"

namespace gamelan::testing {

inline constexpr std::chrono::seconds kPatience{60};

/// A real `gamelan` process with its streams. Everything it starts inherits its standard output, so
/// the end of that stream means that nothing of the job is left. Kills the process when destroyed.
class Launched {
 public:
  struct Options {
    std::map<std::string, std::string> environment;  ///< added; an empty value removes the variable
    std::string input;                               ///< for standard input
    bool on_terminal = false;  ///< all three streams are one new terminal (a pty), read as output
    bool ignore_hangup = false;
  };

  explicit Launched(const std::vector<std::string>& arguments) : Launched(arguments, Options()) {}
  Launched(const std::vector<std::string>& arguments, const Options& options);
  ~Launched();
  Launched(const Launched&) = delete;
  Launched& operator=(const Launched&) = delete;

  /// The guard: the process that was started.
  pid_t pid() const { return pid_; }
  /// The guard's child, which runs the job.
  pid_t agent_pid() const;
  void signal(int number) const;
  /// Types on the terminal.
  void type(const std::string& keys) const;

  /// Reads until `text` has appeared `count` times in the output (or the errors); false when the
  /// stream ends or patience runs out before.
  bool output_has(const std::string& text, int count = 1);
  bool errors_have(const std::string& text, int count = 1);
  /// Reads to the end of the output: until every process of the job is gone. False after `limit`.
  bool everything_is_gone(std::chrono::milliseconds limit = kPatience);
  /// Reads both streams to their ends and waits: the exit code, or minus the signal.
  int wait();

  const std::string& output() const { return output_; }
  const std::string& errors() const { return errors_; }

 private:
  bool read_until(const std::function<bool()>& satisfied, std::chrono::milliseconds limit);

  pid_t pid_ = -1;
  int exit_ = 0;
  bool waited_ = false;
  base::Fd out_;
  base::Fd err_;
  std::string output_;
  std::string errors_;
};

/// Runs `gamelan` to its end.
struct Result {
  int exit = 0;
  std::string output;
  std::string errors;
};
Result run_gamelan(const std::vector<std::string>& arguments,
                   const Launched::Options& options = {});

/// "gamelan run --standalone --nproc-per-node N [more...] sh -c SCRIPT".
std::vector<std::string> run_shell(int nproc, const std::string& script,
                                   const std::vector<std::string>& more = {});

int count_of(const std::string& text, const std::string& part);
/// A new empty folder, removed with the test program's temporary folder.
std::string make_temporary_folder();
std::string read_file(const std::string& path);

}  // namespace gamelan::testing
