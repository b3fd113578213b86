#pragma once

#include <string_view>

#include "base/status.h"

namespace gamelan::io {

/// kFailedPrecondition, saying what to do, when `text` (the start of a file) is the small text file
/// that Git LFS leaves in place of a large one.
base::Status check_no_lfs_pointer(std::string_view text, std::string_view file);

}  // namespace gamelan::io
