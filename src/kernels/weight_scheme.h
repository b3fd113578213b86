#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gamelan::kernels {

/// How the numbers of a linear layer are kept, and what its products are computed in.
enum class WeightScheme : std::uint8_t {
  kF32,          // f32 weights, f32 products
  kBF16,         // bf16 weights, activations rounded to bf16, sums in f32
  kF16,          // f16 weights, activations and sums in f32
  kInt8,         // weight-only: signed 8 bits, one f32 scale an output row; activations in 16 bits
  kInt8Dynamic,  // the same weights; activations in 8 bits, one scale a token
  kInt4,         // weight-only: 4 bits, one f16 scale a group of inputs; activations as for kBF16
};

/// "f32", "bf16", "f16", "int8", "int8-dynamic", "int4".
std::string_view name_of(WeightScheme scheme);
/// The inverse, nullopt for an unknown name. "fp32", "fp16", "float32", "float16", "bfloat16" are
/// accepted too.
std::optional<WeightScheme> scheme_from_name(std::string_view name);
/// All schemes, "f32, bf16, …", for messages.
std::string scheme_names();

}  // namespace gamelan::kernels
