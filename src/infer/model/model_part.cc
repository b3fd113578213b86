#include "infer/model/model_part.h"

#include <utility>

#include "infer/model/decoder.h"
#include "io/model_files.h"

namespace gamelan::infer {

base::StatusOr<std::unique_ptr<ModelPart>> load_model_part(std::string_view path,
                                                           const kernels::Context& context,
                                                           const LoadOptions& options) {
  switch (context.device.type) {
    case tensor::DeviceType::kCpu: {
      GAMELAN_ASSIGN_OR_RETURN(io::ModelFiles files, io::load_model_files(path));
      return Decoder::load(std::move(files), context, options);
    }
  }
  return base::unimplemented("{}: expected a device that models run on, the CPU (0), got type {}",
                             path, static_cast<int>(context.device.type));
}

}  // namespace gamelan::infer
