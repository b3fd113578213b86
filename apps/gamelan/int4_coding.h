#pragma once

#include <cstdint>

#include "io/int4_weights.h"

namespace gamelan::apps {

/// The codes that kernels::cpu::PackedLinear makes: its levels, its search for a group's scale.
io::Int4Coding int4_coding(std::int64_t group_size);

}  // namespace gamelan::apps
