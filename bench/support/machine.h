#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace gamelan::bench {

/// What a figure depends on beside the program: CPU model, CPUs this process may use, load average,
/// kernel.
struct Machine {
  std::string cpu;
  int cpus = 0;
  double load = 0;  ///< average of the last minute
  std::string kernel;
};

Machine this_machine();
/// One line: "AMD EPYC ..., 2 CPUs, load 0.10, Linux 6.1.0".
std::string describe(const Machine& machine);
nlohmann::json to_json(const Machine& machine);

/// Binds the calling thread to the `index`-th CPU it may use; false when there is none.
bool pin_to_cpu(int index);

}  // namespace gamelan::bench
