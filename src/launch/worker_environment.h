#pragma once

#include <string>
#include <vector>

#include "launch/messages.h"
#include "launch/options.h"

namespace gamelan::launch {

/// The environment of one worker: the launcher's own with torchrun's variables (docs/launch.md has
/// the table) and Gamelan's GAMELAN_STORE and GAMELAN_TOKEN put over it.
std::vector<std::string> worker_environment(const LaunchOptions& options, const Start& start,
                                            int node_rank, int local_rank,
                                            const std::string& error_file);

/// Threads for each worker when OMP_NUM_THREADS is unset: processors over workers, at least one.
int default_omp_threads(int cpus, int nproc);

}  // namespace gamelan::launch
