#include "infer/model/load_model.h"

#include <utility>

#include "infer/model/decoder.h"
#include "infer/parallel/parallel_model.h"
#include "io/model_files.h"

namespace gamelan::infer {

base::StatusOr<std::unique_ptr<CausalModel>> load_causal_model(std::string_view path,
                                                               const kernels::Context& context,
                                                               const LoadOptions& options) {
  if (options.parallel.group != nullptr) {
    GAMELAN_ASSIGN_OR_RETURN(std::unique_ptr<ParallelModel> model,
                             load_parallel_model(path, context, options));
    return model;
  }
  GAMELAN_ASSIGN_OR_RETURN(io::ModelFiles files, io::load_model_files(path));
  GAMELAN_ASSIGN_OR_RETURN(std::unique_ptr<Decoder> decoder,
                           Decoder::load(std::move(files), context, options));
  return decoder;
}

}  // namespace gamelan::infer
