#include "infer/parallel/parallel_job.h"

#include <utility>

namespace gamelan::infer {

base::StatusOr<std::unique_ptr<dist::ProcessGroup>> form_stage_group(
    std::shared_ptr<dist::Store> store, int rank, int tensor_size, int pipeline_size,
    const dist::InitOptions& options) {
  if (tensor_size == 1 || pipeline_size == 1) {
    return std::unique_ptr<dist::ProcessGroup>();
  }
  return dist::form_group(std::move(store), rank % tensor_size, tensor_size,
                          fmt::format("stage-{}", rank / tensor_size), options);
}

base::StatusOr<ParallelJob> join_parallel_job(int tensor_size, int pipeline_size,
                                              const dist::InitOptions& options) {
  ParallelJob parallel;
  parallel.tensor_size = tensor_size;
  parallel.pipeline_size = pipeline_size;
  if (tensor_size * pipeline_size <= 1) {
    return parallel;
  }
  GAMELAN_ASSIGN_OR_RETURN(parallel.job, dist::init_process_group(options));
  if (parallel.job.group->size() != tensor_size * pipeline_size) {
    return base::invalid_argument(
        "tensor parallel size {} x pipeline parallel size {}: expected {} processes, the job has "
        "{}",
        tensor_size, pipeline_size, tensor_size * pipeline_size, parallel.job.group->size());
  }
  GAMELAN_ASSIGN_OR_RETURN(
      parallel.stage, form_stage_group(parallel.job.store, parallel.job.group->rank(), tensor_size,
                                       pipeline_size, options));
  return parallel;
}

}  // namespace gamelan::infer
