#pragma once

// The processes of a training job.

#include <memory>
#include <string>

#include "dist/collective/process_group.h"
#include "dist/store/store.h"
#include "gamelan-train/training_options.h"

namespace gamelan::apps {

/// An empty one when this process is alone.
struct Processes {
  std::shared_ptr<dist::Store> store;
  std::shared_ptr<dist::ProcessGroup> group;

  int size() const { return group == nullptr ? 1 : group->size(); }
  int rank() const { return group == nullptr ? 0 : group->rank(); }
  bool first() const { return rank() == 0; }
};

/// Joins the job that the environment describes (a launcher says in WORLD_SIZE how many processes
/// there are; without one there is this one alone) and sets the number of threads. Throws
/// c10::Error.
Processes join(const ProcessOptions& options);

/// Prints a line on the first rank.
void say(const Processes& processes, const std::string& line);

}  // namespace gamelan::apps
