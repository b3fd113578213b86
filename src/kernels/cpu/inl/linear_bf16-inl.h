// Tiles of bf16 weights by AVX512_BF16: one instruction multiplies pairs of inputs and adds both
// products.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

/// Activations rounded to bf16, two bytes each.
static void prepare_bf16(const float* x, std::int64_t count, std::byte* out, std::byte* low,
                         float* scale) {
  (void)low, (void)scale;
  auto* halves = reinterpret_cast<std::uint16_t*>(out);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(halves + i, __builtin_convertvector(bf16_bits(load<Floats>(x + i)), Halves));
  }
  for (; i < count; ++i) {
    halves[i] = static_cast<std::uint16_t>(bf16_bits(splat(x[i]))[0]);
  }
  if (count % 2 != 0) {
    halves[count] = 0;
  }
}

template <int R>
static void bf16_tile_of(const TileRows& rows, const TilePanel& panel, float* out) {
  __m512 sums[R][4];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      sums[r][c] = _mm512_setzero_ps();
    }
  }
  const std::byte* w = panel.data;
  Ahead ahead(panel);
  for (std::int64_t k = 0; k < panel.in; k += 2, w += 4 * kPanel) {
    ahead.fetch();
    __m512bh weights[4];
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      weights[c] = bits_as<__m512bh>(_mm512_loadu_si512(w + 64 * c));
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const auto pair = load<std::int32_t>(rows.data + static_cast<std::size_t>(r) * rows.stride +
                                           static_cast<std::size_t>(k) * 2);
      const auto inputs = bits_as<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        sums[r][c] = _mm512_dpbf16_ps(sums[r][c], weights[c], inputs);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      _mm512_storeu_ps(out + r * kPanel + 16 * c, sums[r][c]);
    }
  }
}

static void bf16_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  switch (count) {
    case 1:
      return bf16_tile_of<1>(rows, panel, out);
    case 2:
      return bf16_tile_of<2>(rows, panel, out);
    case 3:
      return bf16_tile_of<3>(rows, panel, out);
    case 4:
      return bf16_tile_of<4>(rows, panel, out);
    case 5:
      return bf16_tile_of<5>(rows, panel, out);
    default:
      return bf16_tile_of<6>(rows, panel, out);
  }
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
