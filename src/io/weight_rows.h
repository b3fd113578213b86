#pragma once

// Numbers of a tensor as f32, whatever its file stores. A tensor counts as a matrix: its first
// dimension are the rows, all others together the columns; a vector or a scalar is one row.

#include <cstdint>
#include <span>

#include "io/weights.h"

namespace gamelan::io {

std::int64_t rows_of(const WeightView& view);
std::int64_t columns_of(const WeightView& view);

/// The block row-major, [block.rows, block.columns]. A block outside of the tensor, or an `out` of
/// another size, is a bug of the caller's. Transposed and quantised tensors are read fastest in
/// blocks of 16 rows or more.
void read_block(const WeightView& view, const WeightBlock& block, std::span<float> out);

/// All columns of `count` rows.
void read_rows(const WeightView& view, std::int64_t first, std::int64_t count,
               std::span<float> out);
/// All columns of row `n`.
void read_row(const WeightView& view, std::int64_t n, std::span<float> out);

/// The block transposed: [block.columns, block.rows]. For weights that are stored [in, out].
void read_block_transposed(const WeightView& view, const WeightBlock& block, std::span<float> out);

/// The pages that `view` was read from no longer count as this process's memory when they are those
/// of a mapped file; they come back when they are touched again. Thread-safe.
void release_pages(const WeightView& view);

/// `count` plain numbers of type `dtype` as f32. `bytes` needs no alignment.
void widen(tensor::DType dtype, const std::byte* bytes, std::size_t count, float* out);

/// The inverse: `numbers` as kF32, kF16 or kBF16, rounded to nearest even. `out` needs no alignment
/// and has exactly their size.
void narrow(tensor::DType dtype, std::span<const float> numbers, std::span<std::byte> out);

}  // namespace gamelan::io
