#include "launch/worker_environment.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>

namespace gamelan::launch {
namespace {

std::map<std::string, std::string> own_environment() {
  std::map<std::string, std::string> variables;
  for (char** item = environ; item != nullptr && *item != nullptr; ++item) {
    const std::string text = *item;
    const std::size_t equal = text.find('=');
    if (equal != std::string::npos) {
      variables[text.substr(0, equal)] = text.substr(equal + 1);
    }
  }
  return variables;
}

}  // namespace

int default_omp_threads(int cpus, int nproc) {
  return std::max(1, cpus / std::max(1, nproc));
}

std::vector<std::string> worker_environment(const LaunchOptions& options, const Start& start,
                                            int node_rank, int local_rank,
                                            const std::string& error_file) {
  const std::string rank = std::to_string(start.first_rank + local_rank);
  const std::string world_size = std::to_string(start.world_size);
  auto variables = own_environment();
  variables["RANK"] = rank;
  variables["LOCAL_RANK"] = std::to_string(local_rank);
  variables["GROUP_RANK"] = std::to_string(node_rank);
  variables["ROLE_RANK"] = rank;
  variables["ROLE_NAME"] = options.role;
  variables["WORLD_SIZE"] = world_size;
  variables["LOCAL_WORLD_SIZE"] = std::to_string(options.nproc_per_node);
  variables["GROUP_WORLD_SIZE"] = std::to_string(start.group_world_size);
  variables["ROLE_WORLD_SIZE"] = world_size;
  variables["MASTER_ADDR"] = start.master_addr;
  variables["MASTER_PORT"] = std::to_string(start.master_port);
  variables["TORCHELASTIC_RESTART_COUNT"] = std::to_string(start.attempt);
  variables["TORCHELASTIC_MAX_RESTARTS"] = std::to_string(options.max_restarts);
  variables["TORCHELASTIC_RUN_ID"] = options.run_id;
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "False";
  variables["TORCHELASTIC_ERROR_FILE"] = error_file;
  variables.try_emplace("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1");
  variables["GAMELAN_STORE"] = start.store;
  variables["GAMELAN_TOKEN"] = options.token.secret();
  if (options.nproc_per_node > 1) {
    variables.try_emplace("OMP_NUM_THREADS", std::to_string(default_omp_threads(
                                                 options.cpus, options.nproc_per_node)));
  }
  std::vector<std::string> result;
  for (const auto& [name, value] : variables) {
    result.push_back(name + "=" + value);
  }
  return result;
}

}  // namespace gamelan::launch
