#include <absl/base/config.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <spdlog/version.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <boost/version.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/arguments.h"
#include "device/cpu.h"
#include "gamelan/commands.h"
#include "kernels/cpu/isa.h"
#include "launch/options.h"

namespace gamelan::apps {
namespace {

using Json = nlohmann::ordered_json;

/// The value of the first "key : value" line of a /proc file; empty when there is none.
std::string proc_value(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) {
      const std::size_t colon = line.find(':');
      const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
      return begin == std::string::npos ? "" : line.substr(begin);
    }
  }
  return {};
}

long long memory_kib(std::string_view key) {
  return std::atoll(proc_value("/proc/meminfo", key).c_str());
}

/// The memory limit of this process's control group in bytes; 0 = none.
long long cgroup_memory_limit() {
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    long long bytes = 0;
    if (file >> bytes) {
      return bytes < (1LL << 60) ? bytes : 0;  // v1 writes a huge number for "no limit"
    }
  }
  return 0;
}

Json cpu_report() {
  const device::CpuFeatures features = device::cpu_features();
  Json cpu;
  cpu["model"] = proc_value("/proc/cpuinfo", "model name");
  cpu["online"] = sysconf(_SC_NPROCESSORS_ONLN);
  cpu["usable"] = device::usable_cpu_count();
  cpu["features"] = {
      {"avx2", features.avx2},
      {"avx512f", features.avx512f},
      {"avx512_bf16", features.avx512_bf16},
      {"avx512_fp16", features.avx512_fp16},
      {"avx512_vnni", features.avx512_vnni},
      {"amx_bf16", features.amx_bf16},
      {"amx_int8", features.amx_int8},
  };
  return cpu;
}

Json library_report() {
  Json libraries;
  libraries["fmt"] =
      fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
  libraries["spdlog"] =
      fmt::format("{}.{}.{}", SPDLOG_VER_MAJOR, SPDLOG_VER_MINOR, SPDLOG_VER_PATCH);
  libraries["abseil"] =
      fmt::format("{}.{}", ABSL_LTS_RELEASE_VERSION, ABSL_LTS_RELEASE_PATCH_LEVEL);
  libraries["boost"] = fmt::format("{}.{}.{}", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000,
                                   BOOST_VERSION % 100);
  libraries["openssl"] = OpenSSL_version(OPENSSL_VERSION_STRING);
  libraries["cli11"] = CLI11_VERSION;
  libraries["nlohmann_json"] =
      fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                  NLOHMANN_JSON_VERSION_PATCH);
  return libraries;
}

Json report() {
  Json all;
  all["gamelan"] = GAMELAN_VERSION;
  utsname kernel{};
  uname(&kernel);
  all["kernel"] = kernel.release;
  all["cpu"] = cpu_report();
  all["memory"] = {{"total_bytes", memory_kib("MemTotal") * 1024},
                   {"available_bytes", memory_kib("MemAvailable") * 1024},
                   {"limit_bytes", cgroup_memory_limit()}};
  all["gpus"] = launch::gpu_count();
  all["libraries"] = library_report();
  all["gamelan_train"] = sibling_program("gamelan-train");
  const kernels::cpu::IsaChoice& isa = kernels::cpu::isa_choice();
  all["would_use"] = {
      {"nproc_per_node_auto",
       all["gpus"].get<int>() > 0 ? all["gpus"].get<int>() : all["cpu"]["usable"].get<int>()},
      {"backend", "cpu"},
      {"kernels", kernels::cpu::name_of(isa.level)},
      {"kernels_forced", isa.forced},
      {"kernels_warning", isa.warning}};
  return all;
}

void print_text(const Json& all) {
  const auto gib = [](const Json& bytes) {
    return fmt::format("{:.1f} GiB", bytes.get<double>() / (1 << 30));
  };
  std::string features;
  for (const auto& [name, present] : all["cpu"]["features"].items()) {
    features += fmt::format(" {}{}", present.get<bool>() ? "" : "no-", name);
  }
  fmt::print("gamelan        {}\n", all["gamelan"].get<std::string>());
  fmt::print("kernel         {}\n", all["kernel"].get<std::string>());
  fmt::print("cpu            {}\n", all["cpu"]["model"].get<std::string>());
  fmt::print("cpu features  {}\n", features);
  fmt::print("cpus           {} usable of {}\n", all["cpu"]["usable"].get<int>(),
             all["cpu"]["online"].get<int>());
  const long long limit = all["memory"]["limit_bytes"].get<long long>();
  fmt::print("memory         {}, {} available{}\n", gib(all["memory"]["total_bytes"]),
             gib(all["memory"]["available_bytes"]),
             limit > 0 ? ", limited to " + gib(all["memory"]["limit_bytes"]) : "");
  fmt::print("gpus           {}\n", all["gpus"].get<int>() == 0
                                        ? "none"
                                        : std::to_string(all["gpus"].get<int>()) + " (NVIDIA)");
  std::string libraries;
  for (const auto& [name, version] : all["libraries"].items()) {
    libraries +=
        fmt::format("{}{} {}", libraries.empty() ? "" : ", ", name, version.get<std::string>());
  }
  fmt::print("libraries      {}\n", libraries);
  const std::string train = all["gamelan_train"].get<std::string>();
  fmt::print("gamelan-train  {}\n",
             train.empty() ? "not beside this program: 'gamelan train' will not work" : train);
  fmt::print(
      "would use      backend {}, kernels for {}{}, {} process{} for --nproc-per-node auto\n",
      all["would_use"]["backend"].get<std::string>(),
      all["would_use"]["kernels"].get<std::string>(),
      all["would_use"]["kernels_forced"].get<bool>() ? " (forced by GAMELAN_CPU_ISA)" : "",
      all["would_use"]["nproc_per_node_auto"].get<int>(),
      all["would_use"]["nproc_per_node_auto"].get<int>() == 1 ? "" : "es");
}

}  // namespace

int doctor_command(const std::vector<std::string>& arguments) {
  bool json = false;
  CLI::App app("", "gamelan doctor");
  cli::describe(app, "gamelan doctor --json",
                "Says what this machine offers and what Gamelan would use.");
  app.add_flag("--json", json, "Prints one JSON object instead of text");
  if (const auto code = cli::parse(app, arguments)) {
    return *code;
  }
  const Json all = report();
  if (json) {
    fmt::print("{}\n", all.dump(2));
  } else {
    print_text(all);
  }
  return cli::kExitDone;
}

}  // namespace gamelan::apps
