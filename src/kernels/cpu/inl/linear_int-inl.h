// Tiles of linear layers in integers: 8-bit weights, activations of 8 or 16 bits. Sums are exact,
// so they are the same on every level.
//
// A row of activations x is kept as integers u = round(x / scale) + offset, which are not negative:
// 8 bits with offset 128, or two bytes of 16 bits with offset 32768. Then sum(x w) = scale * (sum(u
// w) - offset * sum(w)), and sum(w) is known from packing.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

/// The largest magnitude of a row. The bits of magnitudes are ordered as the magnitudes are, with
/// infinity and NaNs on top.
GAMELAN_INLINE float largest_magnitude(const float* x, std::int64_t count) {
  Words largest[2] = {};
  const auto join = [](Words a, Words b) { return a > b ? a : b; };
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    largest[0] = join(largest[0], load<Words>(x + i) & 0x7fffffffU);
    largest[1] = join(largest[1], load<Words>(x + i + kLanes) & 0x7fffffffU);
  }
  Words all = join(largest[0], largest[1]);
  for (; i < count; i += kLanes) {
    all = join(all, bits_as<Words>(load_some(x + i, count - i)) & 0x7fffffffU);
  }
  std::uint32_t result = all[0];
  for (int lane = 1; lane < kLanes; ++lane) {
    result = all[lane] > result ? all[lane] : result;
  }
  return __builtin_bit_cast(float, result);
}

/// The scale for a row whose integers reach `limit`. A row that holds an infinity or a NaN gets a
/// NaN, which makes its results NaN.
GAMELAN_INLINE float scale_for(float largest, float limit) {
  const float infinity = __builtin_inff();
  return largest < infinity ? largest / limit : __builtin_nanf("");
}
/// 0 for NaN, and for scales that are too small to have an inverse.
GAMELAN_INLINE float inverse_of(float scale) {
  return scale > 0x1p-126F ? 1.0F / scale : 0.0F;
}
/// round(x) + offset. Adding 1.5 * 2^23 rounds to the nearest integer, which then is the lower part
/// of the number's bits.
GAMELAN_INLINE Words rounded(Floats x, std::uint32_t offset) {
  return bits_as<Words>(x + 12582912.0F) - (0x4b400000U - offset);
}

static void prepare_int16(const float* x, std::int64_t count, std::byte* out, std::byte* low,
                          float* scale) {
  *scale = scale_for(largest_magnitude(x, count), 32767.0F);
  const float inverse = inverse_of(*scale);
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const Words u = rounded(load_some(x + i, count - i) * inverse, 32768U);
    const auto upper = __builtin_convertvector(u >> 8, UnsignedBytes);
    const auto lower = __builtin_convertvector(u, UnsignedBytes);
    const auto bytes = static_cast<std::size_t>(count - i < kLanes ? count - i : kLanes);
    std::memcpy(out + i, &upper, bytes);
    std::memcpy(low + i, &lower, bytes);
  }
}

static void prepare_int8(const float* x, std::int64_t count, std::byte* out, std::byte* low,
                         float* scale) {
  (void)low;
  *scale = scale_for(largest_magnitude(x, count), 127.0F);
  const float inverse = inverse_of(*scale);
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const Words u = rounded(load_some(x + i, count - i) * inverse, 128U);
    const auto bytes = __builtin_convertvector(u, UnsignedBytes);
    std::memcpy(out + i, &bytes, static_cast<std::size_t>(count - i < kLanes ? count - i : kLanes));
  }
}

/// sums += four inputs of a row times their weights, for a register of columns. The level's own.
GAMELAN_INLINE Ints dot4(Ints sums, std::uint32_t inputs, Ints weights);

template <bool kTwoBytes, int R>
static void int_tile_of(const TileRows& rows, const TilePanel& panel, float* out) {
  // Sums of upper and lower bytes of more than three rows would not fit the registers.
  constexpr int kWide = kTwoBytes && R > 3 ? kColumns / 2 : kColumns;
  const std::int64_t quads = panel.in / 4;
  for (std::int64_t column = 0; column < kPanel; column += kWide * kLanes) {
    Ints upper[R][kWide] = {};
    Ints lower[R][kWide] = {};
    const std::byte* w = panel.data + column * 4;
    Ahead ahead(panel);
    for (std::int64_t q = 0; q < quads; ++q, w += 4 * kPanel) {
      ahead.fetch();
      Ints weights[kWide];
#pragma GCC unroll 4
      for (int c = 0; c < kWide; ++c) {
        weights[c] = load<Ints>(w + c * sizeof(Ints));
      }
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const std::size_t at =
            static_cast<std::size_t>(r) * rows.stride + static_cast<std::size_t>(q) * 4;
        const auto u = load<std::uint32_t>(rows.data + at);
        const auto l = kTwoBytes ? load<std::uint32_t>(rows.low + at) : 0U;
#pragma GCC unroll 4
        for (int c = 0; c < kWide; ++c) {
          upper[r][c] = dot4(upper[r][c], u, weights[c]);
          if constexpr (kTwoBytes) {
            lower[r][c] = dot4(lower[r][c], l, weights[c]);
          }
        }
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < kWide; ++c) {
        store_int_sums(upper[r][c], lower[r][c], kTwoBytes, rows.scale[r], panel,
                       column + c * kLanes, out + r * kPanel);
      }
    }
  }
}

template <bool kTwoBytes>
static void int_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  switch (count) {
    case 1:
      return int_tile_of<kTwoBytes, 1>(rows, panel, out);
    case 2:
      return int_tile_of<kTwoBytes, 2>(rows, panel, out);
    case 3:
      return int_tile_of<kTwoBytes, 3>(rows, panel, out);
    case 4:
      return int_tile_of<kTwoBytes, 4>(rows, panel, out);
    case 5:
      return int_tile_of<kTwoBytes, 5>(rows, panel, out);
    default:
      return int_tile_of<kTwoBytes, 6>(rows, panel, out);
  }
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
