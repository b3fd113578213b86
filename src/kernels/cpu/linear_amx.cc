// Tiles of bf16 and 8-bit weights by AMX: a tile register holds 16 rows of 64 bytes, and one
// instruction multiplies 16 rows of activations by 16 columns of weights, 32 bf16 or 64 bytes deep.
// A packed panel's layout is what those instructions want of weights (docs/kernels.md).
//
// The number of rows changes no bit: each row of a tile register has sums of its own, and all
// numbers of rows run the same instructions in the same order. Rows beyond the call's are computed
// and dropped.

#include <immintrin.h>

#include "kernels/cpu/linear_kernels.h"

#define GAMELAN_ISA amx
#define GAMELAN_LANES 16
#include "kernels/cpu/inl/simd-inl.h"
// In this order: each uses those above it.
#include "kernels/cpu/inl/int_sums-inl.h"

namespace gamelan::kernels::cpu {
namespace amx {
namespace {

/// Rows of a tile register, and its columns of 32 bits.
constexpr int kTile = 16;
/// Bytes of a row of a tile register.
constexpr std::size_t kRowBytes = 64;
/// Bytes from a group of inputs of a panel to the next one: kPanel columns of 32 bits.
constexpr int kPanelStride = 4 * static_cast<int>(kPanel);
/// Bytes of a panel that a tile register's depth covers.
constexpr std::size_t kStepBytes = kTile * static_cast<std::size_t>(kPanelStride);

/// What LDTILECFG reads (Intel SDM 2, LDTILECFG): eight tile registers, each as large as can be.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {kRowBytes, kRowBytes, kRowBytes, kRowBytes,
                                 kRowBytes, kRowBytes, kRowBytes, kRowBytes};
  std::uint8_t rows[16] = {kTile, kTile, kTile, kTile, kTile, kTile, kTile, kTile};
};
// Not a local variable: GCC 12's _tile_loadconfig tells the compiler of its first bytes alone.
constexpr TileConfig kTileConfig;

void begin() {
  _tile_loadconfig(&kTileConfig);
}

void end() {
  _tile_release();
}

// Few rows are limited by memory. A tile register's load touches every fourth line, in which the
// hardware sees no stream; asked for in order, it does. The last steps ask for the next panel's.
constexpr std::size_t kFewRowsAhead = 2 * kStepBytes;

void fetch_step(const std::byte* from) {
  for (std::size_t i = 0; i < kStepBytes; i += kRowBytes) {
    __builtin_prefetch(from + i);
  }
}

/// Asks for what TileBlock.next and .next_rows name, spread evenly over the steps of its products.
class Ahead {
 public:
  Ahead(const TileBlock& block, std::size_t passes)
      : from_(block.next),
        share_(
            (block.next_bytes / (passes * static_cast<std::size_t>(block.steps)) + kRowBytes - 1) /
            kRowBytes * kRowBytes),
        row_(block.next_rows),
        stride_(block.next_rows_stride),
        row_bytes_(static_cast<std::size_t>(block.steps) * kRowBytes),
        end_(row_ + static_cast<std::size_t>(block.next_rows_count) * stride_) {}

  void fetch() {
    for (std::size_t i = 0; i < share_; i += kRowBytes) {
      __builtin_prefetch(from_ + i, 0, 2);
    }
    from_ += share_;
  }
  /// Once a row of the next activations.
  void fetch_row() {
    if (row_ < end_) {
      for (std::size_t i = 0; i < row_bytes_; i += kRowBytes) {
        __builtin_prefetch(row_ + i, 0, 2);
      }
      row_ += stride_;
    }
  }

 private:
  const std::byte* from_;
  std::size_t share_;
  const std::byte* row_;
  std::size_t stride_;
  std::size_t row_bytes_;
  const std::byte* end_;
};

// The registers' numbers are part of the instructions, so they cannot be arguments of a function.
#define GAMELAN_PRODUCT(sums, rows, columns) \
  if constexpr (kFloat) {                    \
    _tile_dpbf16ps(sums, rows, columns);     \
  } else {                                   \
    _tile_dpbusd(sums, rows, columns);       \
  }
#define GAMELAN_OPEN_SUMS(sums, from)      \
  if (block.first) {                       \
    _tile_zero(sums);                      \
  } else {                                 \
    _tile_loadd(sums, from, kPanelStride); \
  }

/// Up to 16 rows times the whole panel: every byte of the panel is read once, in rising order.
template <bool kFloat>
void multiply_16(const TileRows& rows, const TileBlock& block, std::byte* sums) {
  const std::byte* w = block.weights;
  const std::byte* x = rows.data;
  GAMELAN_OPEN_SUMS(0, sums);
  GAMELAN_OPEN_SUMS(1, sums + kRowBytes);
  GAMELAN_OPEN_SUMS(2, sums + 2 * kRowBytes);
  GAMELAN_OPEN_SUMS(3, sums + 3 * kRowBytes);
  for (std::int64_t step = 0; step < block.steps; ++step, x += kRowBytes, w += kStepBytes) {
    fetch_step(w + kFewRowsAhead);
    _tile_loadd(4, x, rows.stride);
    _tile_loadd(5, w, kPanelStride);
    GAMELAN_PRODUCT(0, 4, 5);
    _tile_loadd(6, w + kRowBytes, kPanelStride);
    GAMELAN_PRODUCT(1, 4, 6);
    _tile_loadd(7, w + 2 * kRowBytes, kPanelStride);
    GAMELAN_PRODUCT(2, 4, 7);
    _tile_loadd(5, w + 3 * kRowBytes, kPanelStride);
    GAMELAN_PRODUCT(3, 4, 5);
  }
  _tile_stored(0, sums, kPanelStride);
  _tile_stored(1, sums + kRowBytes, kPanelStride);
  _tile_stored(2, sums + 2 * kRowBytes, kPanelStride);
  _tile_stored(3, sums + 3 * kRowBytes, kPanelStride);
}

/// 32 rows: two tile registers of rows times two of columns, then the panel's other half.
template <bool kFloat>
void multiply_32(const TileRows& rows, const TileBlock& block, std::byte* sums) {
  Ahead ahead(block, 2);
  for (std::size_t half = 0; half < 2; ++half) {
    const std::byte* w = block.weights + half * 2 * kRowBytes;
    const std::byte* upper = rows.data;
    const std::byte* lower = rows.data + kTile * rows.stride;
    std::byte* const out = sums + half * 2 * kRowBytes;
    GAMELAN_OPEN_SUMS(0, out);
    GAMELAN_OPEN_SUMS(1, out + kRowBytes);
    GAMELAN_OPEN_SUMS(2, out + kTile * kPanelStride);
    GAMELAN_OPEN_SUMS(3, out + kTile * kPanelStride + kRowBytes);
    for (std::int64_t step = 0; step < block.steps; ++step, w += kStepBytes) {
      _tile_loadd(4, upper, rows.stride);
      _tile_loadd(6, w, kPanelStride);
      GAMELAN_PRODUCT(0, 4, 6);
      _tile_loadd(5, lower, rows.stride);
      GAMELAN_PRODUCT(2, 5, 6);
      _tile_loadd(7, w + kRowBytes, kPanelStride);
      GAMELAN_PRODUCT(1, 4, 7);
      GAMELAN_PRODUCT(3, 5, 7);
      ahead.fetch();
      ahead.fetch_row();
      upper += kRowBytes;
      lower += kRowBytes;
    }
    _tile_stored(0, out, kPanelStride);
    _tile_stored(1, out + kRowBytes, kPanelStride);
    _tile_stored(2, out + kTile * kPanelStride, kPanelStride);
    _tile_stored(3, out + kTile * kPanelStride + kRowBytes, kPanelStride);
  }
}

template <bool kFloat>
void multiply(const TileRows& rows, int count, const TileBlock& block, std::byte* sums) {
  if (count <= kTile) {
    multiply_16<kFloat>(rows, block, sums);
  } else {
    multiply_32<kFloat>(rows, block, sums);
  }
}

constexpr std::size_t kSumsOfTile = kTile * static_cast<std::size_t>(kPanelStride);

/// Up to 16 rows of 16-bit activations: sums of their upper bytes' products, then of the lower
/// ones'.
void multiply_two_bytes(const TileRows& rows, int, const TileBlock& block, std::byte* sums) {
  Ahead ahead(block, 2);
  for (std::size_t half = 0; half < 2; ++half) {
    const std::byte* w = block.weights + half * 2 * kRowBytes;
    const std::byte* upper = rows.data;
    const std::byte* lower = rows.low;
    std::byte* const out = sums + half * 2 * kRowBytes;
    GAMELAN_OPEN_SUMS(0, out);
    GAMELAN_OPEN_SUMS(1, out + kRowBytes);
    GAMELAN_OPEN_SUMS(2, out + kSumsOfTile);
    GAMELAN_OPEN_SUMS(3, out + kSumsOfTile + kRowBytes);
    for (std::int64_t step = 0; step < block.steps; ++step, w += kStepBytes) {
      _tile_loadd(4, upper, rows.stride);
      _tile_loadd(6, w, kPanelStride);
      _tile_dpbusd(0, 4, 6);
      _tile_loadd(5, lower, rows.stride);
      _tile_dpbusd(2, 5, 6);
      _tile_loadd(7, w + kRowBytes, kPanelStride);
      _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(3, 5, 7);
      ahead.fetch();
      ahead.fetch_row();
      upper += kRowBytes;
      lower += kRowBytes;
    }
    _tile_stored(0, out, kPanelStride);
    _tile_stored(1, out + kRowBytes, kPanelStride);
    _tile_stored(2, out + kSumsOfTile, kPanelStride);
    _tile_stored(3, out + kSumsOfTile + kRowBytes, kPanelStride);
  }
}

/// `tile` becomes outputs: in place, a register of sums after the other.
template <bool kTwoBytes>
void complete_integers(const TileRows& rows, int count, const TilePanel& panel, float* tile) {
  const float* const lower = tile + kTile * kPanel;
  for (int r = 0; r < count; ++r) {
    for (std::int64_t c = 0; c < kPanel; c += kLanes) {
      const std::int64_t at = r * kPanel + c;
      store_int_sums(load<Ints>(tile + at), kTwoBytes ? load<Ints>(lower + at) : Ints{}, kTwoBytes,
                     rows.scale[r], panel, c, tile + r * kPanel);
    }
  }
}

/// What a tile that is multiplied at once asks for, as TilePanel says it.
template <std::size_t kBytes>
TileBlock whole(const TilePanel& panel) {
  TileBlock block;
  block.weights = panel.data;
  block.steps = panel.in * static_cast<std::int64_t>(kBytes) / static_cast<std::int64_t>(kRowBytes);
  block.next = panel.next[0];
  // Steps of TilePanel are of one group of inputs.
  block.next_bytes = panel.next_step[0] * static_cast<std::size_t>(block.steps) * kTile;
  return block;
}

void bf16_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  multiply<true>(rows, count, whole<2>(panel), reinterpret_cast<std::byte*>(out));
}

void int8_dynamic_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  multiply<false>(rows, count, whole<1>(panel), reinterpret_cast<std::byte*>(out));
  complete_integers<false>(rows, count, panel, out);
}

void int8_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  multiply_two_bytes(rows, count, whole<1>(panel), reinterpret_cast<std::byte*>(out));
  complete_integers<true>(rows, count, panel, out);
}

LinearKernels make_table() {
  LinearKernels table = linear_kernels_avx512_bf16();
  const auto set = [&table](WeightScheme scheme, TileFunction tile, BlockFunction block,
                            CompleteFunction complete, int rows) {
    const auto at = static_cast<std::size_t>(scheme);
    table.tile[at] = tile;
    table.tile_rows[at] = rows;
    table.block[at] = block;
    table.complete[at] = complete;
  };
  set(WeightScheme::kBF16, bf16_tile, multiply<true>, nullptr, 2 * kTile);
  set(WeightScheme::kInt8, int8_tile, multiply_two_bytes, complete_integers<true>, kTile);
  set(WeightScheme::kInt8Dynamic, int8_dynamic_tile, multiply<false>, complete_integers<false>,
      2 * kTile);
  table.begin = begin;
  table.end = end;
  return table;
}

}  // namespace
}  // namespace amx

const LinearKernels& linear_kernels_amx() {
  static const LinearKernels table = amx::make_table();
  return table;
}

}  // namespace gamelan::kernels::cpu
