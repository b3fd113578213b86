#pragma once

// Matrices of 8-bit integers with a scale a row (docs/formats/quantised.md).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/weights.h"

namespace gamelan::io {

/// "X.weight_scale" holds the scales of "X.weight".
inline constexpr std::string_view kScaleSuffix = "_scale";

/// storage_name_of() such a matrix.
inline constexpr std::string_view kInt8StorageName = "int8";

/// Which numbers of a matrix share a scale: those that make one output.
enum class ScaleAxis {
  kRows,     // stored [out, in]
  kColumns,  // stored [in, out] (GPT-2)
};

/// largest |number| / 127 of each output, in f32; 0 for an output of zeros. `view` is a matrix.
/// kInvalidArgument, naming file and tensor, when a number is not finite. Takes one pass.
base::StatusOr<std::vector<float>> int8_scales(const WeightView& view, ScaleAxis axis);

/// number / scale, clamped to ±127 and rounded to nearest even: what
/// kernels::cpu::PackedLinear::pack makes of the same row, and again of its result. `block` is
/// where `numbers` lie in their matrix; `out` has their size.
void quantise_int8(const WeightBlock& block, std::span<const float> numbers, ScaleAxis axis,
                   std::span<const float> scales, std::span<std::int8_t> out);

/// Replaces every matrix "X.weight" of 8-bit integers among `parts` that has an "X.weight_scale" by
/// one of numbers, integer times scale, and removes the scales. A scale is for a row, a column, a
/// group of columns of a row, or all. kInvalidArgument, naming file and tensor, for shapes that do
/// not fit; kUnimplemented when there is an "X.weight_zero_point".
base::Status join_int8_weights(std::vector<Weights::Part>& parts);

}  // namespace gamelan::io
