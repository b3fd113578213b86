#include "device/cpu.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

namespace gamelan::device {
namespace {

constexpr int kMaxCpus = 8192;  // the kernel's own NR_CPUS limit on x86-64

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return std::nullopt;
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::optional<long long> parse_number(std::string_view text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) {
    return std::nullopt;
  }
  return value;
}

int ceil_cpus(long long quota, long long period) {
  if (quota <= 0 || period <= 0) {
    return 0;
  }
  return static_cast<int>(std::min<long long>((quota + period - 1) / period, kMaxCpus));
}

/// The path of this process's group below the v2 mount: the line "0::/path" of /proc/self/cgroup.
std::string own_cgroup() {
  const std::string text = read_file("/proc/self/cgroup").value_or("");
  const std::size_t start = text.find("0::/");
  if (start == std::string::npos) {
    return "";
  }
  return text.substr(start + 3, text.find('\n', start) - start - 3);
}

}  // namespace

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t* set = CPU_ALLOC(kMaxCpus);
  const std::size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
  CPU_ZERO_S(bytes, set);
  if (sched_getaffinity(0, bytes, set) == 0) {
    for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set)) {
        cpus.push_back(cpu);
      }
    }
  }
  CPU_FREE(set);
  if (cpus.empty()) {
    const long online = std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
    for (int cpu = 0; cpu < online; ++cpu) {
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

int parse_cgroup_cpu_max(std::string_view text) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos) {
    return 0;
  }
  const auto quota = parse_number(text.substr(0, space));
  const auto period = parse_number(text.substr(space + 1));
  return quota && period ? ceil_cpus(*quota, *period) : 0;
}

int cgroup_cpu_limit() {
  int limit = 0;
  const auto tighten = [&limit](int found) {
    if (found > 0) {
      limit = limit == 0 ? found : std::min(limit, found);
    }
  };
  // A limit may stand at any level between the group and the root.
  std::string group = own_cgroup();
  while (true) {
    if (const auto text = read_file("/sys/fs/cgroup" + group + "/cpu.max")) {
      tighten(parse_cgroup_cpu_max(*text));
    }
    const std::size_t slash = group.rfind('/');
    if (slash == std::string::npos) {
      break;
    }
    group.resize(slash);
  }
  const auto quota = read_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  const auto period = read_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota && period) {
    tighten(ceil_cpus(parse_number(*quota).value_or(0), parse_number(*period).value_or(0)));
  }
  return limit;
}

int usable_cpu_count() {
  const int allowed = static_cast<int>(allowed_cpus().size());
  const int limit = cgroup_cpu_limit();
  return limit > 0 ? std::min(allowed, limit) : allowed;
}

CpuFeatures cpu_features() {
  CpuFeatures features;
#if defined(__x86_64__)
  // The compiler's check covers what the operating system saves of the AVX registers.
  __builtin_cpu_init();
  features.avx2 = __builtin_cpu_supports("avx2") != 0;
  features.avx512f = __builtin_cpu_supports("avx512f") != 0;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (features.avx512f && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
    features.avx512_vnni = (c >> 11 & 1) != 0;
    features.avx512_fp16 = (d >> 23 & 1) != 0;
    features.amx_bf16 = (d >> 22 & 1) != 0;
    features.amx_int8 = (d >> 25 & 1) != 0;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) {
      features.avx512_bf16 = (a >> 5 & 1) != 0;
    }
  }
#endif
  return features;
}

bool request_amx() {
#if defined(__x86_64__)
  // asm/prctl.h and the list of xstate components, which older headers lack.
  constexpr int kArchReqXcompPerm = 0x1023;
  constexpr int kXfeatureXtiledata = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
#else
  return false;
#endif
}

std::string to_string(const CpuFeatures& features) {
  std::string text;
  const auto append = [&text](bool present, std::string_view name) {
    if (present) {
      text.append(text.empty() ? "" : " ").append(name);
    }
  };
  append(features.avx2, "avx2");
  append(features.avx512f, "avx512f");
  append(features.avx512_bf16, "avx512_bf16");
  append(features.avx512_fp16, "avx512_fp16");
  append(features.avx512_vnni, "avx512_vnni");
  append(features.amx_bf16, "amx_bf16");
  append(features.amx_int8, "amx_int8");
  return text;
}

}  // namespace gamelan::device
