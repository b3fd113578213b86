// Tiles of linear layers in integers: 8-bit weights, activations of 8 or 16 bits. Sums are exact,
// so they are the same on every level.
//
// A row of activations x is kept as integers u = round(x / scale) + offset, which are not negative:
// 8 bits with offset 128, or two bytes of 16 bits with offset 32768. Then sum(x w) = scale * (sum(u
// w) - offset * sum(w)), and sum(w) is known from packing.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

/// NaN when a number is not finite: its product with 0 is NaN, which stays in the sum.
GAMELAN_INLINE float largest_magnitude(const float* x, std::int64_t count) {
  Floats largest{};
  Floats zeros{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats value = load<Floats>(x + i);
    largest = max(largest, value < 0.0F ? -value : value);
    zeros += value * 0.0F;
  }
  float result = max_of(largest);
  float zero = sum_of(zeros);
  for (; i < count; ++i) {
    const float magnitude = x[i] < 0.0F ? -x[i] : x[i];
    result = magnitude > result ? magnitude : result;
    zero += x[i] * 0.0F;
  }
  return result + zero;
}

/// The scale for a row whose integers reach `limit`. A row that holds an infinity or a NaN gets a
/// NaN, which makes its results NaN.
GAMELAN_INLINE float scale_for(float largest, float limit) {
  const float infinity = __builtin_inff();
  return largest < infinity ? largest / limit : __builtin_nanf("");
}

static void prepare_int16(const float* x, std::int64_t count, std::byte* out, std::byte* low,
                          float* scale) {
  *scale = scale_for(largest_magnitude(x, count), 32767.0F);
  const float inverse = *scale > 0.0F ? 1.0F / *scale : 0.0F;  // also for NaN
  auto* upper = reinterpret_cast<std::uint8_t*>(out);
  auto* lower = reinterpret_cast<std::uint8_t*>(low);
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = inverse == 0.0F ? 0.0F : x[i] * inverse;
    const auto u =
        static_cast<std::uint32_t>(static_cast<std::int32_t>(__builtin_rintf(value)) + 32768);
    upper[i] = static_cast<std::uint8_t>(u >> 8);
    lower[i] = static_cast<std::uint8_t>(u & 0xffU);
  }
}

static void prepare_int8(const float* x, std::int64_t count, std::byte* out, std::byte* low,
                         float* scale) {
  (void)low;
  *scale = scale_for(largest_magnitude(x, count), 127.0F);
  const float inverse = *scale > 0.0F ? 1.0F / *scale : 0.0F;
  auto* bytes = reinterpret_cast<std::uint8_t*>(out);
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = inverse == 0.0F ? 0.0F : x[i] * inverse;
    bytes[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(__builtin_rintf(value)) + 128);
  }
}

/// out = scales * (sums - offset * column sums), from the exact sums of one register of columns.
GAMELAN_INLINE void store_int_sums(Ints upper, Ints lower, bool two_bytes, float row_scale,
                                   const TilePanel& panel, std::int64_t column, float* out) {
  const Ints centred = upper - 128 * load<Ints>(panel.sum + column);
  Floats value = __builtin_convertvector(centred, Floats);
  if (two_bytes) {
    value = value * 256.0F + __builtin_convertvector(lower, Floats);
  }
  store(out + column, value * (row_scale * load<Floats>(panel.scale + column)));
}

/// sums += four inputs of a row times their weights, for a register of columns. The level's own.
GAMELAN_INLINE Ints dot4(Ints sums, std::uint32_t inputs, Ints weights);

template <bool kTwoBytes, int R>
static void int_tile_of(const TileRows& rows, const TilePanel& panel, float* out) {
  constexpr int kWide = kTwoBytes ? kColumns / 2 : kColumns;
  const std::int64_t quads = panel.in / 4;
  for (std::int64_t column = 0; column < kPanel; column += kWide * kLanes) {
    Ints upper[R][kWide] = {};
    Ints lower[R][kWide] = {};
    const std::byte* w = panel.data + column * 4;
    for (std::int64_t q = 0; q < quads; ++q, w += 4 * kPanel) {
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
    for (int r = 0; r < R; ++r) {
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
