// all_reduce of an MPI between processes of this host: what gamelan_bench_collective is compared
// with. Built and run by all_reduce_mpi.sh (Debian: libopenmpi-dev, openmpi-bin); no part of the
// project's build.

#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

int repeats_of(std::size_t bytes) {
  return bytes <= 65536 ? 20 : 1;
}

std::vector<float> measure(std::vector<float>& data, std::size_t bytes, int rounds) {
  std::vector<float> times;
  for (int round = 0; round < rounds; ++round) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    for (int i = 0; i < repeats_of(bytes); ++i) {
      MPI_Allreduce(MPI_IN_PLACE, data.data(), static_cast<int>(data.size()), MPI_FLOAT, MPI_MAX,
                    MPI_COMM_WORLD);
    }
    times.push_back(static_cast<float>((MPI_Wtime() - begin) * 1e6 / repeats_of(bytes)));
  }
  return times;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  std::string lines;
  for (const std::size_t bytes : {4UL, 1024UL, 65536UL, 1048576UL, 26214400UL}) {
    std::vector<float> data(std::max<std::size_t>(1, bytes / 4), static_cast<float>(rank + 1));
    MPI_Allreduce(MPI_IN_PLACE, data.data(), static_cast<int>(data.size()), MPI_FLOAT, MPI_SUM,
                  MPI_COMM_WORLD);
    if (data.back() != static_cast<float>(ranks * (ranks + 1)) / 2) {
      std::fprintf(stderr, "wrong sum\n");
      MPI_Abort(MPI_COMM_WORLD, 1);
    }
    const std::vector<float> warm = measure(data, bytes, 5);
    int rounds = static_cast<int>(
        std::clamp(1e6 / (static_cast<double>(warm.back()) * repeats_of(bytes)), 10.0, 3000.0));
    MPI_Bcast(&rounds, 1, MPI_INT, 0, MPI_COMM_WORLD);
    std::vector<float> times = measure(data, bytes, rounds);
    MPI_Allreduce(MPI_IN_PLACE, times.data(), rounds, MPI_FLOAT, MPI_MAX, MPI_COMM_WORLD);
    std::sort(times.begin(), times.end());
    char line[256];
    std::snprintf(line, sizeof(line),
                  json ? R"(%s{"bytes":%zu,"rounds":%zu,"median_us":%.3f,"p99_us":%.3f})"
                       : "%s%12zu %8zu %12.2f %12.2f\n",
                  json && !lines.empty() ? "," : "", bytes, times.size(), times[times.size() / 2],
                  times[times.size() * 99 / 100]);
    lines += line;
  }
  if (rank == 0) {
    if (json) {
      std::printf(R"({"ranks":%d,"backend":"mpi","results":[%s]})"
                  "\n",
                  ranks, lines.c_str());
    } else {
      std::printf("MPI, %d processes\n%s", ranks, lines.c_str());
    }
  }
  MPI_Finalize();
  return 0;
}
