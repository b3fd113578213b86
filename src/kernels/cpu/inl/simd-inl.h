// Vectors of the level that the including file is compiled for: GCC's and clang's vector extension,
// which both lower to the instructions that the flags allow. The including file defines GAMELAN_ISA
// (the namespace), GAMELAN_LANES (floats of a register) and includes each inl/ file once.

#include <cstdint>
#include <cstring>

namespace gamelan::kernels::cpu::GAMELAN_ISA {

inline constexpr int kLanes = GAMELAN_LANES;
typedef float Floats __attribute__((vector_size(4 * GAMELAN_LANES)));
typedef std::int32_t Ints __attribute__((vector_size(4 * GAMELAN_LANES)));
typedef std::uint32_t Words __attribute__((vector_size(4 * GAMELAN_LANES)));
typedef std::uint16_t Halves __attribute__((vector_size(2 * GAMELAN_LANES)));
typedef std::int8_t Bytes __attribute__((vector_size(GAMELAN_LANES)));
typedef std::uint8_t UnsignedBytes __attribute__((vector_size(GAMELAN_LANES)));

#define GAMELAN_INLINE static inline __attribute__((always_inline))

template <class V>
GAMELAN_INLINE V load(const void* from) {
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}
template <class V>
GAMELAN_INLINE void store(void* to, V value) {
  std::memcpy(to, &value, sizeof(V));
}
GAMELAN_INLINE Floats splat(float value) {
  return value - Floats{};
}
GAMELAN_INLINE Ints splat_int(std::int32_t value) {
  return value - Ints{};
}
/// The first `count` numbers, at most kLanes, then zeros.
GAMELAN_INLINE Floats load_some(const float* from, std::int64_t count) {
  if (count >= kLanes) {
    return load<Floats>(from);
  }
  float some[kLanes] = {};
  std::memcpy(some, from, static_cast<std::size_t>(count) * sizeof(float));
  return load<Floats>(some);
}
template <class To, class From>
GAMELAN_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

/// The sum of the lanes, halves first: an order that depends on the level alone.
GAMELAN_INLINE float sum_of(Floats value) {
  float lanes[kLanes];
  std::memcpy(lanes, &value, sizeof lanes);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) {
      lanes[i] += lanes[i + width];
    }
  }
  return lanes[0];
}
GAMELAN_INLINE float max_of(Floats value) {
  float lanes[kLanes];
  std::memcpy(lanes, &value, sizeof lanes);
  float result = lanes[0];
  for (int i = 1; i < kLanes; ++i) {
    result = lanes[i] > result ? lanes[i] : result;
  }
  return result;
}
GAMELAN_INLINE Floats max(Floats a, Floats b) {
  return a > b ? a : b;
}
GAMELAN_INLINE Floats min(Floats a, Floats b) {
  return a < b ? a : b;
}

/// kLanes numbers of a stored type as f32.
GAMELAN_INLINE Floats widen(const float* from) {
  return load<Floats>(from);
}
GAMELAN_INLINE Words words_of(const std::uint16_t* from) {
  return __builtin_convertvector(load<Halves>(from), Words);
}
/// bf16: the upper half of an f32.
GAMELAN_INLINE Floats widen_bf16(const std::uint16_t* from) {
  return bits_as<Floats>(words_of(from) << 16);
}
/// bf16 of f32, to nearest even, as the value of an f32. NaN stays NaN.
GAMELAN_INLINE Words bf16_bits(Floats value) {
  const Words bits = bits_as<Words>(value);
  const Words rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return (bits & 0x7fffffffU) > 0x7f800000U ? (bits >> 16) | 0x40U : rounded;
}

/// e^x within 2 ulp; 0 below -87.3, infinity above 88.7. x = n ln 2 + r, a polynomial for e^r
/// (Cephes).
GAMELAN_INLINE Floats exp(Floats x) {
  const Floats clamped = min(max(x, splat(-87.3365447F)), splat(88.7228391F));
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
  const Floats shifted = clamped * 1.44269504F + 12582912.0F;
  const Floats n = shifted - 12582912.0F;
  const Floats r = (clamped - n * 0.693359375F) - n * -2.12194440e-4F;
  Floats p = splat(1.9875691500e-4F);
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  // Two factors: 2^128 is no f32, but e^88.7 is.
  const Ints power = __builtin_convertvector(n, Ints);
  const Ints half = power >> 1;
  const Floats a = bits_as<Floats>((half + 127) << 23);
  const Floats b = bits_as<Floats>((power - half + 127) << 23);
  const Floats result = p * a * b;
  return x < splat(-87.3365447F) ? Floats{} : (x != x ? x : result);
}

/// tanh within 4 ulp, from e^2x.
GAMELAN_INLINE Floats tanh(Floats x) {
  const Floats magnitude = x < 0.0F ? -x : x;
  const Floats e = exp(min(magnitude, splat(10.0F)) * 2.0F);
  const Floats large = 1.0F - 2.0F / (e + 1.0F);
  // Near 0 the difference above cancels: the odd polynomial of Cephes.
  const Floats s = x * x;
  Floats p = splat(-5.70498872745e-3F);
  p = p * s + 2.06390887954e-2F;
  p = p * s - 5.37397155531e-2F;
  p = p * s + 1.33314422036e-1F;
  p = p * s - 3.33332819422e-1F;
  const Floats small = p * s * x + x;
  return magnitude < 0.625F ? small : (x < 0.0F ? -large : large);
}

/// erf within 1.5e-7 (Abramowitz and Stegun 7.1.26).
GAMELAN_INLINE Floats erf(Floats x) {
  const Floats magnitude = x < 0.0F ? -x : x;
  const Floats t = 1.0F / (1.0F + 0.3275911F * magnitude);
  Floats p = splat(1.061405429F);
  p = p * t - 1.453152027F;
  p = p * t + 1.421413741F;
  p = p * t - 0.284496736F;
  p = p * t + 0.254829592F;
  const Floats result = 1.0F - p * t * exp(-magnitude * magnitude);
  return x < 0.0F ? -result : result;
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
