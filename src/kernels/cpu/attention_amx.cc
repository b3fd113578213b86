#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "kernels/cpu/attention_kernels.h"

namespace gamelan::kernels::cpu::detail {
namespace {

constexpr int kLanes = 16;
#include "kernels/cpu/attention_simd.inc"

#include "kernels/cpu/attention_group.inc"

#include "kernels/cpu/attention_bf16.inc"

/// bf16 by AMX: 16 query vectors times the 16 keys of a subtile, which lie as the instruction wants
/// them, then their weights of 32 keys times 16 columns of values.
struct TileFormat : Bf16Format {
  static void walk(const AttentionTask& task, const HeadLayout& head,
                   const Group<TileFormat>& group, const Scratch<TileFormat>& scratch);
};
#include "kernels/cpu/attention_tile.inc"

constexpr std::int64_t kTileRows = 16;
/// Numbers that one product sums: 16 pairs.
constexpr std::int64_t kTileDepth = 32;
constexpr std::int64_t kRowBytes = 64;
constexpr std::int64_t kKeys = kGroup * kSubtile;
/// Before the columns of values lies one of 16 whose second is all ones: as a state begins with a
/// maximum and a sum, its product adds the weights to the sum and nothing to the maximum.
constexpr std::int64_t kHeader = 16;

// Tile registers: 0 to 3 hold sums; 4 and 5 a left and a right side; 6 and 7 those of the numbers
// beyond the last 32 of a query and of keys.

/// What LDTILECFG reads (Intel SDM 2, LDTILECFG).
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

/// How many rows the left sides have: one or a few, so that a step of few vectors does not load and
/// store rows that nobody wants; a row's bits are the same.
constexpr std::array<std::uint8_t, 3> kRows = {1, kFewVectors, kTileRows};

/// For each number of rows and each rest of pairs that a head's depth leaves, 0 to 15. Constants,
/// because GCC 12 takes _tile_loadconfig to read eight bytes and drops a local's other stores.
struct TileConfigs {
  constexpr TileConfigs() {
    for (std::size_t i = 0; i < kRows.size(); ++i) {
      for (std::size_t rest = 0; rest < kTileDepth / 2; ++rest) {
        TileConfig& config = of[i][rest];
        for (int tile = 0; tile < 8; ++tile) {
          config.row_bytes[tile] = kRowBytes;
          config.rows[tile] = kRows[i];
        }
        config.rows[5] = kTileRows;
        config.row_bytes[6] = static_cast<std::uint16_t>(rest == 0 ? kRowBytes : rest * 4);
        config.rows[7] = static_cast<std::uint8_t>(rest == 0 ? kTileRows : rest);
      }
    }
  }

  TileConfig of[kRows.size()][kTileDepth / 2];
};
constexpr TileConfigs kConfigs;

const TileConfig& config_for(const AttentionTask& task) {
  const std::int64_t vectors = task.vectors();
  const std::size_t rows = vectors == 1 ? 0 : vectors <= kFewVectors ? 1 : 2;
  return kConfigs.of[rows][HeadLayout(task.cache.layout).depth % kTileDepth / 2];
}

/// products [16, 32] = queries . keys of two subtiles.
void multiply_keys(const HeadLayout& head, const std::uint32_t* queries, const std::uint32_t* left,
                   const std::uint32_t* right, float* products) {
  const auto* const query = reinterpret_cast<const std::byte*>(queries);
  const std::int64_t stride = head.depth * 2;
  const std::int64_t whole = head.depth / kTileDepth;
  _tile_zero(0);
  _tile_zero(1);
  for (std::int64_t i = 0; i < whole; ++i) {
    const std::int64_t at = i * kTileDepth / 2 * kSubtile;
    _tile_loadd(4, query + i * kRowBytes, stride);
    _tile_loadd(5, left + at, kRowBytes);
    _tile_dpbf16ps(0, 4, 5);
    _tile_loadd(5, right + at, kRowBytes);
    _tile_dpbf16ps(1, 4, 5);
  }
  if (head.depth % kTileDepth != 0) {
    const std::int64_t at = whole * kTileDepth / 2 * kSubtile;
    _tile_loadd(6, query + whole * kRowBytes, stride);
    _tile_loadd(7, left + at, kRowBytes);
    _tile_dpbf16ps(0, 6, 7);
    _tile_loadd(7, right + at, kRowBytes);
    _tile_dpbf16ps(1, 6, 7);
  }
  constexpr std::int64_t kStride = kKeys * sizeof(float);
  _tile_stored(0, products, kStride);
  _tile_stored(1, products + kSubtile, kStride);
}

/// Columns [16, 16 * Tiles] of the states += weights [16, 32 * halves] . values.
template <int Tiles>
void multiply_values(std::int64_t halves, const std::uint32_t* weights, const std::uint32_t* values,
                     std::int64_t width, float* state) {
  const std::int64_t stride = state_size(width) * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t value_stride =
      (kHeader + width) * static_cast<std::int64_t>(sizeof(std::uint32_t));
  constexpr std::int64_t kStride = kKeys * 2;
  _tile_loadd(0, state, stride);
  if constexpr (Tiles > 1) {
    _tile_loadd(1, state + 16, stride);
  }
  if constexpr (Tiles > 2) {
    _tile_loadd(2, state + 32, stride);
  }
  for (std::int64_t half = 0; half < halves; ++half) {
    const std::uint32_t* const from = values + half * kTileRows * (kHeader + width);
    _tile_loadd(4, weights + half * kTileDepth / 2, kStride);
    _tile_loadd(5, from, value_stride);
    _tile_dpbf16ps(0, 4, 5);
    if constexpr (Tiles > 1) {
      _tile_loadd(5, from + 16, value_stride);
      _tile_dpbf16ps(1, 4, 5);
    }
    if constexpr (Tiles > 2) {
      _tile_loadd(5, from + 32, value_stride);
      _tile_dpbf16ps(2, 4, 5);
    }
  }
  _tile_stored(0, state, stride);
  if constexpr (Tiles > 1) {
    _tile_stored(1, state + 16, stride);
  }
  if constexpr (Tiles > 2) {
    _tile_stored(2, state + 32, stride);
  }
}

/// How many halves of the group hold keys up to position `last`.
std::int64_t halves_until(const Group<TileFormat>& group, std::int64_t last) {
  std::int64_t end = kGroup;
  while (end > 0 && (group.counts[end - 1] == 0 || group.positions[end - 1] > last)) {
    --end;
  }
  return ceil_div(end, 2);
}

/// values [16 * halves, 16 + width] = the pairs of the group, behind the column that sums weights.
/// Slots that were never written become 0: what lies there could be a NaN, and so would its product
/// with 0.
void gather_values(const Group<TileFormat>& group, std::int64_t halves, std::int64_t width,
                   std::uint32_t* values) {
  const __m512i ones = _mm512_maskz_set1_epi32(2, 0x3F803F80);
  for (std::int64_t pair = 0; pair < halves * kTileRows; ++pair) {
    const std::int64_t subtile = pair / (kSubtile / 2);
    const std::int64_t slot = pair % (kSubtile / 2) * 2;
    const std::int64_t written = group.counts[subtile] - slot;
    const std::uint32_t halves = written >= 2 ? 0xFFFFFFFFU : written == 1 ? 0xFFFFU : 0U;
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(halves));
    const std::uint32_t* const from = group.values[subtile] + slot / 2 * width;
    _mm512_storeu_si512(values, ones);
    values += kHeader;
    for (std::int64_t column = 0; column < width; column += 16, values += 16) {
      _mm512_storeu_si512(values, _mm512_and_si512(_mm512_loadu_si512(from + column), mask));
    }
  }
}

void TileFormat::walk(const AttentionTask& task, const HeadLayout& head,
                      const Group<TileFormat>& group, const Scratch<TileFormat>& scratch) {
  auto* const values = reinterpret_cast<std::uint32_t*>(scratch.unpacked);
  gather_values(group, halves_until(group, task.keys - 1), head.width, values);
  const std::int64_t size = state_size(head.width);
  const std::int64_t vectors = task.vectors();
  std::int64_t row = 0;
  std::int64_t query_head = 0;
  for (std::int64_t vector = 0; vector < vectors; vector += kTileRows) {
    const std::int64_t end = std::min(vector + kTileRows, vectors);
    // Keys that no vector of the tile sees would weigh 0.
    const std::int64_t last = task.causal ? task.position + (end - 1) / task.group : task.keys - 1;
    const std::int64_t halves = halves_until(group, last);
    float* const scores = scratch.scores + vector * kKeys;
    float* const state = scratch.part + vector * size;
    std::uint32_t* const weights = scratch.weights + vector * kKeys / 2;
    for (std::int64_t half = 0; half < halves; ++half) {
      multiply_keys(head, scratch.queries + vector * head.depth / 2, group.keys[2 * half],
                    group.keys[2 * half + 1], scores + half * kTileDepth);
    }
    for (std::int64_t at = 0; at < end - vector; ++at) {
      const Limits limits(task, row, query_head);
      if (halves == 2) {
        weigh_pairs<4>(limits, group, head.width, scores + at * kKeys, state + at * size,
                       weights + at * kKeys / 2);
      } else if (halves == 1) {
        weigh_pairs<2>(limits, group, head.width, scores + at * kKeys, state + at * size,
                       weights + at * kKeys / 2);
      }
      if (++query_head == task.group) {
        query_head = 0;
        ++row;
      }
    }
    std::int64_t column = 0;
    for (; halves > 0 && column + 48 <= size; column += 48) {
      multiply_values<3>(halves, weights, values + column, head.width, state + column);
    }
    for (; halves > 0 && column + 32 <= size; column += 32) {
      multiply_values<2>(halves, weights, values + column, head.width, state + column);
    }
    if (halves > 0 && column < size) {
      multiply_values<1>(halves, weights, values + column, head.width, state + column);
    }
  }
}

void run_tiles(const AttentionTask& task, float* state, std::byte* scratch) {
  if (task.cache.layout.dtype != tensor::DType::kBF16) {
    run_task<TileFormat>(task, state, scratch);
    return;
  }
  _tile_loadconfig(&config_for(task));
  run_task<TileFormat>(task, state, scratch);
  _tile_release();
}

}  // namespace

const AttentionKernels kAttentionAmx = {run_tiles, merge_states};

}  // namespace gamelan::kernels::cpu::detail
