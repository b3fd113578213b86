#pragma once

#include <memory>

#include "base/status.h"
#include "dist/rendezvous/init.h"
#include "infer/model/load_model.h"

namespace gamelan::infer {

/// The processes of a job that run one model together, and the groups that they need. Must outlive
/// the model.
struct ParallelJob {
  dist::Job job;
  /// The ranks of this stage; null when a stage is one rank or all of them.
  std::unique_ptr<dist::ProcessGroup> stage;
  int tensor_size = 1;
  int pipeline_size = 1;

  /// For LoadOptions::parallel.
  ParallelOptions options() const {
    return {tensor_size, pipeline_size, job.group.get(), stage.get()};
  }
};

/// Joins the job that the environment names (`gamelan run`). kInvalidArgument unless it has
/// tensor_size * pipeline_size processes. For one process nothing is joined.
base::StatusOr<ParallelJob> join_parallel_job(int tensor_size, int pipeline_size,
                                              const dist::InitOptions& options = {});

/// The group of the ranks of this rank's stage; null when it needs none.
base::StatusOr<std::unique_ptr<dist::ProcessGroup>> form_stage_group(
    std::shared_ptr<dist::Store> store, int rank, int tensor_size, int pipeline_size,
    const dist::InitOptions& options = {});

}  // namespace gamelan::infer
