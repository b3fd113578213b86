#pragma once

// The functions that are compiled once for each level of instruction sets, and the choice among
// them. What is above them (packing, splitting the work, the public functions) is compiled once.

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/linear.h"

namespace gamelan::kernels::cpu {

/// Output columns that lie together in a packed weight (docs/kernels.md).
inline constexpr std::int64_t kPanel = 64;
/// The most rows of activations that a tile function takes: two tile registers of AMX.
inline constexpr int kMaxTileRows = 32;
/// The most that one takes which holds its sums in vector registers.
inline constexpr int kVectorTileRows = 6;

/// Activations as a scheme's products read them.
struct TileRows {
  /// Row r begins at data + r * stride bytes. Where a scheme prepares them, memory of as many rows
  /// as its tile function likes best may be read, whatever their number.
  const std::byte* data = nullptr;
  std::size_t stride = 0;
  /// Integer schemes: the lower bytes of 16-bit activations, as `data`; null for 8 bits.
  const std::byte* low = nullptr;
  /// Integer schemes: what a row's integers are multiplied by.
  const float* scale = nullptr;
};

/// One panel of a packed weight.
struct TilePanel {
  const std::byte* data = nullptr;
  /// Integer schemes: [kPanel] scale and sum of the integers of every column.
  const float* scale = nullptr;
  const std::int32_t* sum = nullptr;
  /// Inputs, padded as the scheme's layout needs it.
  std::int64_t in = 0;
  /// kInt4: inputs of a group.
  std::int64_t group = 0;
  /// What to bring into the second-level cache meanwhile: at each step of the inputs a line from
  /// both, which then move on by their steps. Never null; a step of 0 touches the same line again.
  const std::byte* next[2] = {};
  std::size_t next_step[2] = {};
};

/// out [rows, kPanel] = activations times panel, before bias and activation function.
using TileFunction = void (*)(const TileRows& rows, int count, const TilePanel& panel, float* out);
/// Brings `count` numbers of x into the form that a scheme's tile function reads.
using PrepareFunction = void (*)(const float* x, std::int64_t count, std::byte* out, std::byte* low,
                                 float* scale);

/// What finishes a tile: y = activation(tile + bias) [+ y].
struct TileOutput {
  float* y = nullptr;  // the tile's first number
  std::int64_t stride = 0;
  int columns = 0;  // of the tile, at most kPanel
  const float* bias = nullptr;
  LinearActivation activation = LinearActivation::kNone;
  bool accumulate = false;
  bool gated = false;
};
using FinishFunction = void (*)(float* tile, int rows, const TileOutput& output);

inline constexpr std::size_t kSchemes = 6;

struct LinearKernels {
  /// Bytes of an activation as the bf16 tile function reads it: 2, or 4 without such products.
  std::size_t bf16_activation_bytes = 4;
  /// By WeightScheme.
  TileFunction tile[kSchemes] = {};
  PrepareFunction prepare[kSchemes] = {};  // null: x itself
  int tile_rows[kSchemes] = {};            // rows that the tile function likes best
  FinishFunction finish = nullptr;
  /// Called by each thread before its first tile and after its last one; null: nothing to do.
  void (*begin)() = nullptr;
  void (*end)() = nullptr;
};

const LinearKernels& linear_kernels_scalar();
const LinearKernels& linear_kernels_avx2();
const LinearKernels& linear_kernels_avx512();
const LinearKernels& linear_kernels_avx512_vnni();
const LinearKernels& linear_kernels_avx512_bf16();
const LinearKernels& linear_kernels_amx();

const LinearKernels& linear_kernels_of(IsaLevel level);

}  // namespace gamelan::kernels::cpu
