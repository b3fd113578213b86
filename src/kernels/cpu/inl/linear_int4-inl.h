// Tiles of four-bit weights (packed_int4.h) in f32 arithmetic, with activations rounded to bf16 as
// level kAvx512Bf16 needs them. The products of a group are summed by themselves and then
// multiplied by its scale.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

/// The levels of a register of codes, level / 128. The level's own.
GAMELAN_INLINE Floats int4_levels(Words codes);

/// Sums of a group are held beside those of the row.
inline constexpr int kInt4Columns = kColumns / 2;

template <int R>
GAMELAN_INLINE void int4_octet(const float* const* x, const std::byte* words, std::int64_t k,
                               Floats (&part)[R][kInt4Columns]) {
  for (int i = 0; i < 8; ++i) {
    const int shift = i / 2 * 4 + i % 2 * 16;
    Floats weights[kInt4Columns];
#pragma GCC unroll 2
    for (int c = 0; c < kInt4Columns; ++c) {
      weights[c] = int4_levels((load<Words>(words + c * sizeof(Words)) >> shift) & 15U);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Floats value = splat(x[r][k + i]);
#pragma GCC unroll 2
      for (int c = 0; c < kInt4Columns; ++c) {
        part[r][c] += value * weights[c];
      }
    }
  }
}

template <int R>
static void int4_tile_of(const TileRows& rows, const TilePanel& panel, float* out) {
  const float* x[R];
  for (int r = 0; r < R; ++r) {
    x[r] = reinterpret_cast<const float*>(rows.data + static_cast<std::size_t>(r) * rows.stride);
  }
  const std::size_t group_bytes = int4_group_bytes(panel.group);
  for (std::int64_t column = 0; column < kPanel; column += kInt4Columns * kLanes) {
    Floats sums[R][kInt4Columns] = {};
    const std::byte* group = panel.data;
    for (std::int64_t first = 0; first < panel.in; first += panel.group, group += group_bytes) {
      Floats part[R][kInt4Columns] = {};
      const std::byte* words = group + 2 * kPanel + 4 * column;
      for (std::int64_t k = first; k < first + panel.group; k += 8, words += 4 * kPanel) {
        int4_octet<R>(x, words, k, part);
      }
      const auto* scales = reinterpret_cast<const std::uint16_t*>(group) + column;
#pragma GCC unroll 2
      for (int c = 0; c < kInt4Columns; ++c) {
        const Floats scale = widen_f16(scales + c * kLanes);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          sums[r][c] += scale * part[r][c];
        }
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int c = 0; c < kInt4Columns; ++c) {
        store(out + r * kPanel + column + c * kLanes, sums[r][c]);
      }
    }
  }
}

static void int4_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  switch (count) {
    case 1:
      return int4_tile_of<1>(rows, panel, out);
    case 2:
      return int4_tile_of<2>(rows, panel, out);
    case 3:
      return int4_tile_of<3>(rows, panel, out);
    case 4:
      return int4_tile_of<4>(rows, panel, out);
    case 5:
      return int4_tile_of<5>(rows, panel, out);
    default:
      return int4_tile_of<6>(rows, panel, out);
  }
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
