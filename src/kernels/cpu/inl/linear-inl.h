// Tiles of linear layers in f32 arithmetic. A tile is up to kVectorTileRows rows times one panel of
// kPanel columns. Every output is one chain of additions over the inputs in rising order, whatever
// the number of rows: so a row has the same bits alone and in a batch.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

/// Registers of columns that a pass over the inputs holds: with 6 rows, 24 sums of 32 registers at
/// AVX-512, 12 of 16 below.
inline constexpr int kColumns = GAMELAN_LANES == 16 ? 4 : 2;
inline constexpr int kPassWidth = kColumns * kLanes;

/// Asks for what comes next: TilePanel.
class Ahead {
 public:
  __attribute__((always_inline)) explicit Ahead(const TilePanel& panel)
      : a_(panel.next[0]),
        b_(panel.next[1]),
        a_step_(panel.next_step[0]),
        b_step_(panel.next_step[1]) {}
  __attribute__((always_inline)) void fetch() {
    __builtin_prefetch(a_, 0, 2);
    __builtin_prefetch(b_, 0, 2);
    a_ += a_step_;
    b_ += b_step_;
  }

 private:
  const std::byte* a_;
  const std::byte* b_;
  std::size_t a_step_;
  std::size_t b_step_;
};

struct F32Panel {
  static constexpr std::int64_t kStep = 1;
  template <int R>
  GAMELAN_INLINE void multiply(const float* const* x, const std::byte* panel, std::int64_t k,
                               std::int64_t column, Floats (&sums)[R][kColumns]) {
    const float* w = reinterpret_cast<const float*>(panel) + k * kPanel + column;
    Floats weights[kColumns];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      weights[c] = load<Floats>(w + c * kLanes);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Floats value = splat(x[r][k]);
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) {
        sums[r][c] += value * weights[c];
      }
    }
  }
};

struct F16Panel {
  static constexpr std::int64_t kStep = 1;
  template <int R>
  GAMELAN_INLINE void multiply(const float* const* x, const std::byte* panel, std::int64_t k,
                               std::int64_t column, Floats (&sums)[R][kColumns]) {
    const auto* w = reinterpret_cast<const std::uint16_t*>(panel) + k * kPanel + column;
    Floats weights[kColumns];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      weights[c] = widen_f16(w + c * kLanes);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Floats value = splat(x[r][k]);
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) {
        sums[r][c] += value * weights[c];
      }
    }
  }
};

/// Pairs of inputs of a column lie together: [in / 2][kPanel][2]. Without instructions for them
/// each half is moved to the upper half of a word, where it is an f32.
struct Bf16Panel {
  static constexpr std::int64_t kStep = 2;
  template <int R>
  GAMELAN_INLINE void multiply(const float* const* x, const std::byte* panel, std::int64_t k,
                               std::int64_t column, Floats (&sums)[R][kColumns]) {
    const auto* w = reinterpret_cast<const std::uint32_t*>(panel) + k / 2 * kPanel + column;
    Words pairs[kColumns];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      pairs[c] = load<Words>(w + c * kLanes);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Floats even = splat(x[r][k]);
      const Floats odd = splat(x[r][k + 1]);
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) {
        sums[r][c] += even * bits_as<Floats>(pairs[c] << 16);
        sums[r][c] += odd * bits_as<Floats>(pairs[c] & 0xffff0000U);
      }
    }
  }
};

template <class Panel, int R>
static void float_tile_of(const TileRows& rows, const TilePanel& panel, float* out) {
  const float* x[R];
  for (int r = 0; r < R; ++r) {
    x[r] = reinterpret_cast<const float*>(rows.data + static_cast<std::size_t>(r) * rows.stride);
  }
  for (std::int64_t column = 0; column < kPanel; column += kPassWidth) {
    Floats sums[R][kColumns] = {};
    Ahead ahead(panel);
    for (std::int64_t k = 0; k < panel.in; k += Panel::kStep) {
      ahead.fetch();
      Panel::template multiply<R>(x, panel.data, k, column, sums);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) {
        store(out + r * kPanel + column + c * kLanes, sums[r][c]);
      }
    }
  }
}

template <class Panel>
static void float_tile(const TileRows& rows, int count, const TilePanel& panel, float* out) {
  switch (count) {
    case 1:
      return float_tile_of<Panel, 1>(rows, panel, out);
    case 2:
      return float_tile_of<Panel, 2>(rows, panel, out);
    case 3:
      return float_tile_of<Panel, 3>(rows, panel, out);
    case 4:
      return float_tile_of<Panel, 4>(rows, panel, out);
    case 5:
      return float_tile_of<Panel, 5>(rows, panel, out);
    default:
      return float_tile_of<Panel, 6>(rows, panel, out);
  }
}

/// Activations rounded to bf16, still as f32. `count` may be odd: the last one's partner is 0.
static void round_to_bf16(const float* x, std::int64_t count, std::byte* out, std::byte* low,
                          float* scale) {
  (void)low, (void)scale;
  auto* y = reinterpret_cast<std::uint32_t*>(out);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(y + i, bf16_bits(load<Floats>(x + i)) << 16);
  }
  float rest[kLanes] = {};
  std::memcpy(rest, x + i, static_cast<std::size_t>(count - i) * sizeof(float));
  const Words words = bf16_bits(load<Floats>(rest)) << 16;
  std::memcpy(y + i, &words, static_cast<std::size_t>((count + 1) / 2 * 2 - i) * sizeof(float));
}

template <LinearActivation kActivation>
GAMELAN_INLINE Floats activate(Floats x) {
  if constexpr (kActivation == LinearActivation::kGelu) {
    return 0.5F * x * (1.0F + erf(x * 0.70710678F));
  } else if constexpr (kActivation == LinearActivation::kGeluTanh) {
    // (1 + tanh(u)) / 2 = 1 / (1 + e^-2u): no cancellation on either side.
    return x / (1.0F + exp(-1.59576912F * x * (1.0F + 0.044715F * x * x)));
  } else if constexpr (kActivation == LinearActivation::kRelu) {
    return max(x, Floats{});
  } else if constexpr (kActivation == LinearActivation::kSilu) {
    return x / (1.0F + exp(-x));
  } else {
    return x;
  }
}

/// Gate and values of a row of a tile alternate in halves; what follows the last full pair is split
/// in two. The results take the place of the row's first half.
template <LinearActivation kActivation>
GAMELAN_INLINE void apply_gate(float* values, int columns) {
  for (int c = 0, done = 0; c < columns; done = c / 2) {
    const int half =
        columns - c >= 2 * kGatedHalf ? static_cast<int>(kGatedHalf) : (columns - c) / 2;
    for (int i = 0; i < half; i += kLanes) {
      float gate[kLanes] = {};
      const int count = half - i < kLanes ? half - i : kLanes;
      std::memcpy(gate, values + c + i, static_cast<std::size_t>(count) * sizeof(float));
      store(gate, activate<kActivation>(load<Floats>(gate)));
      for (int j = 0; j < count; ++j) {
        values[done + i + j] = gate[j] * values[c + half + i + j];
      }
    }
    c += 2 * half;
  }
}

/// A row of a whole tile, registers at a time.
template <LinearActivation kActivation>
GAMELAN_INLINE void finish_whole_row(const float* values, const TileOutput& out, float* y) {
#pragma GCC unroll 4
  for (int c = 0; c < kPanel; c += kLanes) {
    Floats value = load<Floats>(values + c);
    if (out.bias != nullptr) {
      value += load<Floats>(out.bias + c);
    }
    value = activate<kActivation>(value);
    store(y + c, out.accumulate ? value + load<Floats>(y + c) : value);
  }
}

template <LinearActivation kActivation>
GAMELAN_INLINE void finish_part_of_row(float* values, const TileOutput& out, float* y) {
  if (out.bias != nullptr) {
    for (int c = 0; c < out.columns; ++c) {
      values[c] += out.bias[c];
    }
  }
  if (out.gated) {
    apply_gate<kActivation>(values, out.columns);
  } else if constexpr (kActivation != LinearActivation::kNone) {
    for (int c = 0; c < kPanel; c += kLanes) {
      store(values + c, activate<kActivation>(load<Floats>(values + c)));
    }
  }
  const int width = out.gated ? out.columns / 2 : out.columns;
  if (out.accumulate) {
    for (int c = 0; c < width; ++c) {
      y[c] += values[c];
    }
  } else {
    std::memcpy(y, values, static_cast<std::size_t>(width) * sizeof(float));
  }
}

template <LinearActivation kActivation>
static void finish_tile_of(float* tile, int rows, const TileOutput& out) {
  const bool whole = out.columns == kPanel && !out.gated;
  for (int r = 0; r < rows; ++r) {
    float* const y = out.y + r * out.stride;
    if (whole) {
      finish_whole_row<kActivation>(tile + r * kPanel, out, y);
    } else {
      finish_part_of_row<kActivation>(tile + r * kPanel, out, y);
    }
  }
}

static void finish_tile(float* tile, int rows, const TileOutput& out) {
  switch (out.activation) {
    case LinearActivation::kNone:
      return finish_tile_of<LinearActivation::kNone>(tile, rows, out);
    case LinearActivation::kGelu:
      return finish_tile_of<LinearActivation::kGelu>(tile, rows, out);
    case LinearActivation::kGeluTanh:
      return finish_tile_of<LinearActivation::kGeluTanh>(tile, rows, out);
    case LinearActivation::kRelu:
      return finish_tile_of<LinearActivation::kRelu>(tile, rows, out);
    case LinearActivation::kSilu:
      return finish_tile_of<LinearActivation::kSilu>(tile, rows, out);
  }
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
