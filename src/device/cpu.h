#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gamelan::device {

/// The CPUs this process may run on: its affinity mask, in rising order. Never empty.
std::vector<int> allowed_cpus();

/// How many CPUs the control group of this process may use at once (its cgroup v2 or v1 quota,
/// rounded up); 0 = no limit.
int cgroup_cpu_limit();

/// How many threads can truly run at once: the affinity mask, cut to the control group's quota. At
/// least 1.
int usable_cpu_count();

/// The quota in a cgroup v2 `cpu.max` ("max 100000", "150000 100000"), rounded up; 0 = no limit,
/// also for text that is not of this form.
int parse_cgroup_cpu_max(std::string_view text);

/// The instruction sets that change which kernel is picked.
struct CpuFeatures {
  bool avx2 = false;
  bool avx512f = false;
  bool avx512_bf16 = false;
  bool avx512_fp16 = false;
  bool avx512_vnni = false;
  bool amx_bf16 = false;
  bool amx_int8 = false;
};
/// Asks the CPU; all false on other architectures.
CpuFeatures cpu_features();
/// Asks the system to let this process use AMX's tile registers, which Linux gives only on request:
/// one call serves all threads, earlier and later ones. False when it refuses or knows no tiles.
bool request_amx();
/// "avx2 avx512f amx_bf16", in the order of the fields.
std::string to_string(const CpuFeatures& features);

}  // namespace gamelan::device
