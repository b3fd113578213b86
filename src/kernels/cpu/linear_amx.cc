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

/// Asks for what TilePanel.next names, spread evenly over the steps of a tile's products.
class Ahead {
 public:
  Ahead(const TilePanel& panel, std::size_t steps, std::size_t passes) {
    for (int i = 0; i < 2; ++i) {
      from_[i] = panel.next[i];
      // TilePanel's steps are of one group of inputs.
      const std::size_t bytes = panel.next_step[i] * steps * kTile;
      share_[i] = (bytes / (passes * steps) + kRowBytes - 1) / kRowBytes * kRowBytes;
    }
  }
  void fetch() {
    for (int i = 0; i < 2; ++i) {
      for (std::size_t at = 0; at < share_[i]; at += kRowBytes) {
        __builtin_prefetch(from_[i] + at, 0, 2);
      }
      from_[i] += share_[i];
    }
  }

 private:
  const std::byte* from_[2];
  std::size_t share_[2];
};

// The registers' numbers are part of the instructions, so they cannot be arguments of a function.
#define GAMELAN_PRODUCT(sums, rows, columns) \
  if constexpr (kFloat) {                    \
    _tile_dpbf16ps(sums, rows, columns);     \
  } else {                                   \
    _tile_dpbusd(sums, rows, columns);       \
  }

/// sums [16, kPanel] = 16 rows times the panel: every byte of it is read once, in rising order.
template <bool kFloat>
void multiply_16(const TileRows& rows, const TilePanel& panel, std::size_t steps, std::byte* sums) {
  const std::byte* w = panel.data;
  const std::byte* x = rows.data;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::size_t step = 0; step < steps; ++step, x += kRowBytes, w += kStepBytes) {
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

constexpr std::size_t kSumsOfTile = kTile * static_cast<std::size_t>(kPanelStride);

/// sums [2, 16, kPanel] = 16 rows at `first` and 16 at `second`, of the same stride, times the
/// panel: two tile registers of rows times two of columns, then the panel's other half.
template <bool kFloat>
void multiply_twice_16(const std::byte* first, const std::byte* second, std::size_t stride,
                       const TilePanel& panel, std::size_t steps, std::byte* sums) {
  Ahead ahead(panel, steps, 2);
  // The panel's only tile: nothing has fetched it. Each half reads lines with gaps between them.
  const bool only = panel.next_step[0] == 0;
  for (std::size_t half = 0; half < 2; ++half) {
    const std::byte* w = panel.data + half * 2 * kRowBytes;
    std::byte* const out = sums + half * 2 * kRowBytes;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (std::size_t step = 0; step < steps; ++step, w += kStepBytes) {
      if (only && half == 0) {
        fetch_step(w + kFewRowsAhead);
      }
      _tile_loadd(4, first + step * kRowBytes, stride);
      _tile_loadd(6, w, kPanelStride);
      GAMELAN_PRODUCT(0, 4, 6);
      _tile_loadd(5, second + step * kRowBytes, stride);
      GAMELAN_PRODUCT(2, 5, 6);
      _tile_loadd(7, w + kRowBytes, kPanelStride);
      GAMELAN_PRODUCT(1, 4, 7);
      GAMELAN_PRODUCT(3, 5, 7);
      ahead.fetch();
    }
    _tile_stored(0, out, kPanelStride);
    _tile_stored(1, out + kRowBytes, kPanelStride);
    _tile_stored(2, out + kSumsOfTile, kPanelStride);
    _tile_stored(3, out + kSumsOfTile + kRowBytes, kPanelStride);
  }
}

template <bool kFloat>
void multiply(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  constexpr std::size_t kBytes = kFloat ? 2 : 1;
  const std::size_t steps = static_cast<std::size_t>(panel.in) * kBytes / kRowBytes;
  auto* const sums = reinterpret_cast<std::byte*>(out);
  if (count <= kTile) {
    multiply_16<kFloat>(rows, panel, steps, sums);
  } else {
    multiply_twice_16<kFloat>(rows.data, rows.data + kTile * rows.stride, rows.stride, panel, steps,
                              sums);
  }
}

/// `tile` becomes outputs: in place, a register of sums after the other. With kTwoBytes the sums of
/// the lower bytes begin at row `low`.
template <bool kTwoBytes>
void complete_integers(const TileRows& rows, int count, const TilePanel& panel, float* tile,
                       int low = 0) {
  const float* const lower = tile + low * kPanel;
  for (int r = 0; r < count; ++r) {
    for (std::int64_t c = 0; c < kPanel; c += kLanes) {
      const std::int64_t at = r * kPanel + c;
      store_int_sums(load<Ints>(tile + at), kTwoBytes ? load<Ints>(lower + at) : Ints{}, kTwoBytes,
                     rows.scale[r], panel, c, tile + r * kPanel);
    }
  }
}

void int8_dynamic_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  multiply<false>(rows, count, panel, out);
  complete_integers<false>(rows, count, panel, out);
}

/// Up to 16 rows of 16-bit activations: the products of their upper bytes and those of the lower
/// ones, in one tile register where both fit.
void int8_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  constexpr int kHalf = kTile / 2;
  const std::size_t steps = static_cast<std::size_t>(panel.in) / kRowBytes;
  auto* const sums = reinterpret_cast<std::byte*>(out);
  const bool together = count <= kHalf && rows.low == rows.data + kHalf * rows.stride;
  if (together) {
    multiply_16<false>(rows, panel, steps, sums);
  } else {
    multiply_twice_16<false>(rows.data, rows.low, rows.stride, panel, steps, sums);
  }
  complete_integers<true>(rows, count, panel, out, together ? kHalf : kTile);
}

LinearKernels make_table() {
  LinearKernels table = linear_kernels_avx512_bf16();
  const auto set = [&table](WeightScheme scheme, TileFunction tile, int rows) {
    table.tile[static_cast<std::size_t>(scheme)] = tile;
    table.tile_rows[static_cast<std::size_t>(scheme)] = rows;
  };
  set(WeightScheme::kBF16, multiply<true>, 2 * kTile);
  set(WeightScheme::kInt8, int8_tile, kTile);
  set(WeightScheme::kInt8Dynamic, int8_dynamic_tile, 2 * kTile);
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
