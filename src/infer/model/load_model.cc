#include "infer/model/load_model.h"

#include "infer/model/model_part.h"
#include "infer/parallel/parallel_model.h"

namespace gamelan::infer {

base::StatusOr<std::unique_ptr<CausalModel>> load_causal_model(std::string_view path,
                                                               const kernels::Context& context,
                                                               const LoadOptions& options) {
  if (options.parallel.group != nullptr) {
    GAMELAN_ASSIGN_OR_RETURN(std::unique_ptr<ParallelModel> model,
                             load_parallel_model(path, context, options));
    return model;
  }
  GAMELAN_ASSIGN_OR_RETURN(std::unique_ptr<ModelPart> model,
                           load_model_part(path, context, options));
  return model;
}

}  // namespace gamelan::infer
