#pragma once

#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace gamelan::infer {

/// What a cache of keys and values is made of: "f32", "bf16", "f16", with the other spellings of
/// kernels::scheme_from_name, or "int8"; nullopt for anything else.
std::optional<tensor::DType> cache_dtype_from_name(std::string_view name);

}  // namespace gamelan::infer
