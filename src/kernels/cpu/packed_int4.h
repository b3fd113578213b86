#pragma once

// Weights of four bits. A row's inputs are cut into groups; a number is scale * kInt4Levels[code] /
// 128. The levels are those that minimise the squared error of bell-shaped groups of 32 numbers
// whose scale is free (Lloyd 1982, over normal and Student-t samples): denser around 0 than evenly
// spaced ones, which makes the error of 4.5 bits a number 10 % smaller. They are whole, so that
// level / 128 is exact in bf16.

#include <array>
#include <cstddef>
#include <cstdint>

namespace gamelan::kernels::cpu {

inline constexpr std::array<std::int8_t, 16> kInt4Levels = {
    -127, -99, -78, -61, -46, -32, -20, -8, 2, 13, 25, 37, 50, 66, 86, 120};
inline constexpr float kInt4Unit = 1.0F / 128;

/// Bytes of a group in a panel of 64 outputs: f16 [64] scales, then for every 8 inputs [64] words
/// of 32 bits, one an output. The codes of inputs 0, 2, 4, 6 fill its lower half from the lowest
/// bits on, those of 1, 3, 5, 7 the upper half: shifted, the word holds the codes of a pair.
std::size_t int4_group_bytes(std::int64_t group);

/// Packs output `column` of a panel, `in` numbers; codes of missing inputs and outputs are 0. The
/// scale of a group, of either sign, is the one of several around its largest magnitude whose
/// rounding errors' squares have the smallest sum. False when a number is not finite or exceeds
/// f16. REQUIRES: the panel was zeroed.
bool pack_int4(const float* row, std::int64_t in, std::int64_t group, std::int64_t column,
               std::byte* panel);

/// The number of input `k` of output `column`.
float read_int4(const std::byte* panel, std::int64_t group, std::int64_t k, std::int64_t column);

}  // namespace gamelan::kernels::cpu
