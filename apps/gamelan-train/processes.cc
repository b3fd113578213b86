#include "gamelan-train/processes.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/log.h"
#include "dist/rendezvous/init.h"
#include "train/torch_view.h"

namespace gamelan::apps {

Processes join(const ProcessOptions& options) {
  if (options.threads > 0) {
    at::set_num_threads(options.threads);
  }
  const char* world_size = std::getenv("WORLD_SIZE");
  if (world_size == nullptr || std::string(world_size) == "1") {
    return {};
  }
  dist::InitOptions init;
  init.backend = options.backend;
  init.timeout = std::chrono::seconds(options.ddp_timeout_seconds);
  dist::Job job = train::value_or_throw(dist::init_process_group(init));
  base::set_log_prefix(fmt::format("rank {}", job.group->rank()));
  return {std::move(job.store), std::move(job.group)};
}

void say(const Processes& processes, const std::string& line) {
  if (processes.first()) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }
}

}  // namespace gamelan::apps
