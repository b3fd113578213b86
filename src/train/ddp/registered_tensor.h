#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>

#include "dist/collective/process_group.h"

namespace gamelan::train {

/// A zeroed tensor [count] in memory that operations of `group` use without copying. The memory,
/// and with it the group, lives as long as any tensor that shares it. Throws c10::Error when there
/// is no memory.
at::Tensor registered_tensor(const std::shared_ptr<dist::ProcessGroup>& group, std::size_t count,
                             at::ScalarType type);

}  // namespace gamelan::train
