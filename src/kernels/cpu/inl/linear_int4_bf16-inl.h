// Tiles of four-bit weights by AVX512_BF16. A permutation turns the codes of 16 outputs' pairs of
// inputs into pairs of bf16 levels: it reads five bits of each half word, of which the fifth
// belongs to the next code, so the table holds the levels twice.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

GAMELAN_INLINE __m512i int4_table() {
  alignas(64) std::uint16_t table[32];
  for (std::size_t i = 0; i < 32; ++i) {
    const float level = kInt4Unit * kInt4Levels[i % 16];
    table[i] = static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, level) >> 16);
  }
  return _mm512_load_si512(table);
}

/// Four pairs of inputs.
template <int R, int C>
GAMELAN_INLINE void int4_bf16_octet(const TileRows& rows, const std::byte* words, std::int64_t k,
                                    __m512i table, __m512 (&part)[R][C]) {
  __m512i codes[C];
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    codes[c] = _mm512_loadu_si512(words + 64 * c);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    __m512bh weights[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      weights[c] = bits_as<__m512bh>(_mm512_maskz_permutexvar_epi16(
          0xffffffffU, _mm512_srli_epi16(codes[c], static_cast<unsigned>(4 * i)), table));
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const auto pair = load<std::int32_t>(rows.data + static_cast<std::size_t>(r) * rows.stride +
                                           static_cast<std::size_t>(k + 2 * i) * 2);
      const auto inputs = bits_as<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        part[r][c] = _mm512_dpbf16_ps(part[r][c], weights[c], inputs);
      }
    }
  }
}

/// C registers of columns from `column` on, up to 24 sums with those of a group.
template <int R, int C>
static void int4_bf16_pass(const TileRows& rows, const TilePanel& panel, std::int64_t column,
                           float* out) {
  const __m512i table = int4_table();
  const std::size_t group_bytes = int4_group_bytes(panel.group);
  Ahead ahead(panel);
  __m512 sums[R][C] = {};
  const std::byte* group = panel.data;
  for (std::int64_t first = 0; first < panel.in; first += panel.group, group += group_bytes) {
    ahead.fetch();
    __m512 part[R][C] = {};
    const std::byte* words = group + 2 * kPanel + 4 * column;
    for (std::int64_t k = first; k < first + panel.group; k += 8, words += 4 * kPanel) {
      ahead.fetch();
      int4_bf16_octet<R, C>(rows, words, k, table, part);
    }
    const auto* scales = reinterpret_cast<const std::uint16_t*>(group) + column;
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const auto scale = bits_as<__m512>(widen_f16(scales + c * kLanes));
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        sums[r][c] = _mm512_fmadd_ps(scale, part[r][c], sums[r][c]);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      _mm512_storeu_ps(out + r * kPanel + column + 16 * c, sums[r][c]);
    }
  }
}

template <int R>
GAMELAN_INLINE void int4_bf16_tile_of(const TileRows& rows, const TilePanel& panel, float* out) {
  constexpr int kWide = R > 3 ? 2 : 4;
  for (std::int64_t column = 0; column < kPanel; column += kWide * kLanes) {
    int4_bf16_pass<R, kWide>(rows, panel, column, out);
  }
}

static void int4_bf16_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  switch (count) {
    case 1:
      return int4_bf16_tile_of<1>(rows, panel, out);
    case 2:
      return int4_bf16_tile_of<2>(rows, panel, out);
    case 3:
      return int4_bf16_tile_of<3>(rows, panel, out);
    case 4:
      return int4_bf16_tile_of<4>(rows, panel, out);
    case 5:
      return int4_bf16_tile_of<5>(rows, panel, out);
    default:
      return int4_bf16_tile_of<6>(rows, panel, out);
  }
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
