#include "bench/support/machine.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>

#include <cstdlib>
#include <fstream>

namespace gamelan::bench {

Machine this_machine() {
  Machine machine;
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      machine.cpu = line.substr(colon + 2);
      break;
    }
  }
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    machine.cpus = CPU_COUNT(&allowed);
  }
  double load[1] = {0};
  if (::getloadavg(load, 1) == 1) {
    machine.load = load[0];
  }
  utsname name{};
  if (::uname(&name) == 0) {
    machine.kernel = fmt::format("{} {}", name.sysname, name.release);
  }
  return machine;
}

std::string describe(const Machine& machine) {
  return fmt::format("{}, {} CPUs, load {:.2f}, {}", machine.cpu, machine.cpus, machine.load,
                     machine.kernel);
}

nlohmann::json to_json(const Machine& machine) {
  return {{"cpu", machine.cpu},
          {"cpus", machine.cpus},
          {"load", machine.load},
          {"kernel", machine.kernel}};
}

bool pin_to_cpu(int index) {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return false;
  }
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed) && index-- == 0) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      return ::sched_setaffinity(0, sizeof(one), &one) == 0;
    }
  }
  return false;
}

}  // namespace gamelan::bench
