#pragma once

#include <cstdint>
#include <vector>

namespace gamelan::kernels {

/// The slopes of ALiBi for any number of heads (Press et al. 2022, as BLOOM computes them): with c
/// the largest power of two up to `heads`, base^1 … base^c for base = 2^-(2^-(log2 c - 3)), then
/// the odd powers of the base of 2c.
std::vector<float> alibi_slopes(std::int64_t heads);

}  // namespace gamelan::kernels
