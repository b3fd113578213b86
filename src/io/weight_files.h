#pragma once

// Weight files of one format each, as parts of io::Weights. For io/open_weights.cc and the readers
// of other folders.

#include <string_view>

#include "base/status.h"
#include "io/weights.h"

namespace gamelan::io {

/// A safetensors file: every tensor a plain view into the map.
base::StatusOr<Weights::Part> open_safetensors_part(std::string_view path);

/// A file that torch.save wrote (io/torch_archive.h).
base::StatusOr<Weights::Part> open_torch_part(std::string_view path);

}  // namespace gamelan::io
