// int4_levels by two permutations of eight numbers each: the code's upper bit chooses.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

GAMELAN_INLINE Floats int4_levels(Words codes) {
  const auto half = [](std::size_t first) {
    Floats levels;
    for (std::size_t i = 0; i < 8; ++i) {
      levels[i] = kInt4Unit * kInt4Levels[first + i];
    }
    return bits_as<__m256>(levels);
  };
  const auto index = bits_as<__m256i>(codes);
  const __m256 lower = _mm256_permutevar8x32_ps(half(0), index);
  const __m256 upper = _mm256_permutevar8x32_ps(half(8), index);
  return bits_as<Floats>(_mm256_blendv_ps(lower, upper, bits_as<__m256>(codes << 28)));
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
