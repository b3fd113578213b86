// Times all_reduce between processes of this host, each pinned to a CPU of its own.
//
//   gamelan_bench_collective --ranks 2 --backend cpu --bytes 4,65536,26214400
//
// Every size is verified first, then warmed up; a barrier (not timed) comes before each timed
// operation, and the time of an operation is that of the slowest rank. Prints median and 99th
// percentile and the bandwidth of the algorithm (bytes over time), beside the load of the machine;
// --json gives the same for programs.

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "device/cpu.h"
#include "dist/collective/process_group.h"
#include "dist/rendezvous/init.h"
#include "net/socket.h"

namespace gamelan {
namespace {

struct Settings {
  int ranks = 2;
  std::string backend = "cpu";
  std::vector<std::size_t> bytes = {4, 1024, 65'536, 1'048'576, 26'214'400};
  bool registered = false;
  double seconds = 1.0;
  bool json = false;
};

struct Result {
  std::size_t bytes = 0;
  int rounds = 0;
  double median_us = 0;
  double p99_us = 0;
};

void check(const base::Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(base::message(status).size()),
                 base::message(status).data());
    std::exit(1);
  }
}

void pin(int rank) {
  const std::vector<int> cpus = device::allowed_cpus();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpus[static_cast<std::size_t>(rank) % cpus.size()], &one);
  sched_setaffinity(0, sizeof(one), &one);
}

/// The sum over ranks of small whole numbers is exact.
void verify(dist::ProcessGroup& group, float* data, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    data[i] = static_cast<float>(static_cast<int>(i % 97) + group.rank());
  }
  check(group.all_reduce({data, count, tensor::DType::kF32, {}}).wait());
  const int ranks = group.size();
  for (std::size_t i = 0; i < count; ++i) {
    const auto expected =
        static_cast<float>(static_cast<int>(i % 97) * ranks + ranks * (ranks - 1) / 2);
    if (data[i] != expected) {
      std::fprintf(stderr, "wrong sum at %zu of %zu\n", i, count);
      std::exit(1);
    }
  }
  std::fill_n(data, count, 1.0F);
}

/// Short operations are timed in runs, or the clock and the barrier would be what is measured.
int repeats_of(std::size_t bytes) {
  return bytes <= 65'536 ? 20 : 1;
}

std::vector<float> measure(dist::ProcessGroup& group, float* data, std::size_t count,
                           std::size_t bytes, int rounds) {
  const int repeats = repeats_of(bytes);
  std::vector<float> times;
  const tensor::BufferView buffer{data, count, tensor::DType::kF32, {}};
  for (int round = 0; round < rounds; ++round) {
    check(group.barrier().wait());
    const base::TimePoint begin = base::Clock::now();
    for (int i = 0; i < repeats; ++i) {
      check(group.all_reduce(buffer, {{}, dist::ReduceOp::kMax}).wait());
    }
    times.push_back(static_cast<float>(base::seconds(base::Clock::now() - begin) * 1e6 / repeats));
  }
  return times;
}

Result run_size(dist::ProcessGroup& group, const Settings& settings, std::size_t bytes) {
  const std::size_t count = std::max<std::size_t>(1, bytes / sizeof(float));
  std::unique_ptr<float[]> plain;
  dist::RegisteredMemory registered;
  float* data = nullptr;
  if (settings.registered) {
    auto memory = group.allocate(count * sizeof(float));
    check(memory.status());
    registered = *std::move(memory);
    data = static_cast<float*>(registered.data());
  } else {
    plain = std::make_unique<float[]>(count);
    data = plain.get();
  }
  verify(group, data, count);
  const std::vector<float> warm = measure(group, data, count, bytes, 5);
  // The number of rounds is rank 0's guess, so that all make the same number.
  float rounds = static_cast<float>(
      std::clamp(settings.seconds * 1e6 / (warm.back() * repeats_of(bytes)), 10.0, 3'000.0));
  check(group.broadcast(tensor::view_of(&rounds, 1)).wait());
  std::vector<float> times = measure(group, data, count, bytes, static_cast<int>(rounds));
  check(group.all_reduce(tensor::view_of(times.data(), times.size()), {{}, dist::ReduceOp::kMax})
            .wait());
  std::sort(times.begin(), times.end());
  Result result;
  result.bytes = bytes;
  result.rounds = static_cast<int>(times.size());
  result.median_us = times[times.size() / 2];
  result.p99_us = times[times.size() * 99 / 100];
  return result;
}

void print(const dist::ProcessGroup& group, const Settings& settings,
           const std::vector<Result>& results) {
  std::array<double, 3> load{};
  getloadavg(load.data(), 3);
  if (settings.json) {
    nlohmann::json json = {{"ranks", settings.ranks},
                           {"backend", group.backend_name()},
                           {"registered", settings.registered},
                           {"load", load[0]},
                           {"cpus", device::usable_cpu_count()},
                           {"operation", "all_reduce f32 max"}};
    for (const Result& result : results) {
      json["results"].push_back({{"bytes", result.bytes},
                                 {"rounds", result.rounds},
                                 {"median_us", result.median_us},
                                 {"p99_us", result.p99_us}});
    }
    std::printf("%s\n", json.dump().c_str());
    return;
  }
  std::printf("all_reduce, f32, %d processes, %s%s, load %.1f on %u CPUs\n", settings.ranks,
              group.backend_name().c_str(), settings.registered ? ", registered memory" : "",
              load[0], std::thread::hardware_concurrency());
  std::printf("%12s %8s %12s %12s %10s\n", "bytes", "rounds", "median us", "p99 us", "GB/s");
  for (const Result& result : results) {
    std::printf("%12zu %8d %12.2f %12.2f %10.2f\n", result.bytes, result.rounds, result.median_us,
                result.p99_us, static_cast<double>(result.bytes) / result.median_us * 1e-3);
  }
}

int run_rank(const Settings& settings, int rank, std::uint16_t port) {
  dist::InitOptions options;
  options.backend = settings.backend;
  options.init_method = "tcp://127.0.0.1:" + std::to_string(port);
  options.rank = rank;
  options.world_size = settings.ranks;
  options.generation = 0;
  options.timeout = std::chrono::minutes(2);
  auto job = dist::init_process_group(options);
  check(job.status());
  // After the group has seen how many CPUs there are for its ranks.
  pin(rank);
  std::vector<Result> results;
  for (const std::size_t bytes : settings.bytes) {
    results.push_back(run_size(*job->group, settings, bytes));
  }
  if (rank == 0) {
    print(*job->group, settings, results);
  }
  check(job->group->barrier().wait());
  return 0;
}

int run(int argc, char** argv) {
  Settings settings;
  CLI::App app("Times all_reduce between processes of this host.");
  app.add_option("--ranks", settings.ranks, "Processes")->check(CLI::Range(1, 64));
  app.add_option("--backend", settings.backend, "cpu (shared memory) or tcp");
  app.add_option("--bytes", settings.bytes, "Sizes")->delimiter(',');
  app.add_option("--seconds", settings.seconds, "About how long to measure each size");
  app.add_flag("--registered", settings.registered, "Buffers from ProcessGroup::allocate");
  app.add_flag("--json", settings.json, "One JSON object");
  CLI11_PARSE(app, argc, argv);
  std::uint16_t port = 0;
  {
    const auto listener = net::listen_tcp({"127.0.0.1", 0});
    check(listener.status());
    port = net::local_endpoint(listener->get())->port;
  }
  for (int rank = 1; rank < settings.ranks; ++rank) {
    if (::fork() == 0) {
      return run_rank(settings, rank, port);
    }
  }
  int code = run_rank(settings, 0, port);
  int status = 0;
  while (::wait(&status) > 0) {
    code = status == 0 ? code : 1;
  }
  return code;
}

}  // namespace
}  // namespace gamelan

int main(int argc, char** argv) {
  return gamelan::run(argc, argv);
}
