#pragma once

// Matrices of 4-bit codes with a scale a group of inputs (docs/formats/quantised.md).

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/weights.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace gamelan::io {

/// "X.weight_int4" holds the groups of "X.weight" [out, in], "X.weight_int4_transposed" those of
/// one that is [in, out] (GPT-2); "int4_levels" what the codes of a file mean.
inline constexpr std::string_view kInt4Suffix = "_int4";
inline constexpr std::string_view kInt4TransposedSuffix = "_int4_transposed";
inline constexpr std::string_view kInt4Levels = "int4_levels";
/// storage_name_of() such a matrix.
inline constexpr std::string_view kInt4StorageName = "int4";

/// How numbers become codes, which is not this layer's to say.
struct Int4Coding {
  /// Numbers of a row that share a scale; even, and a matrix's columns are a multiple of it.
  std::int64_t group_size = 32;
  /// A number is scale * levels[code].
  std::array<float, 16> levels = {};
  /// Codes [rows, columns] and scales [rows, columns / group_size] of `numbers` [rows, columns].
  /// False when one of them cannot be held.
  std::function<bool(std::int64_t rows, std::int64_t columns, std::span<const float> numbers,
                     std::span<std::uint8_t> codes, std::span<tensor::Float16> scales)>
      encode;
};

/// Inputs that share a scale in a matrix that is stored so; nullopt for any other.
std::optional<std::int64_t> int4_group_size(const WeightView& view);

/// Shape of the groups of a matrix [out, in]: [out, in / group_size, 2 + group_size / 2] bytes.
tensor::Shape int4_shape(const tensor::Shape& matrix, std::int64_t group_size);

/// The groups of `rows` whole rows, which is what int4_shape says of them: each the scale, then two
/// codes a byte, the first in the lower half. False as `encode`.
bool pack_int4_groups(const Int4Coding& coding, std::int64_t rows, std::int64_t columns,
                      std::span<const float> numbers, std::vector<std::byte>& out);

/// Replaces all groups of "X.weight" among `parts` by the matrix of numbers, and removes the
/// levels. kInvalidArgument, naming file and tensor, when a shape or type is not what this format
/// has, or the levels are missing.
base::Status join_int4_weights(std::vector<Weights::Part>& parts);

}  // namespace gamelan::io
