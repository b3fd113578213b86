// int4_levels by one permutation of sixteen numbers.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

GAMELAN_INLINE Floats int4_levels(Words codes) {
  Floats levels;
  for (std::size_t i = 0; i < 16; ++i) {
    levels[i] = kInt4Unit * kInt4Levels[i];
  }
  // With a mask of ones: GCC 12 warns about the plain intrinsic's undefined operand.
  return bits_as<Floats>(
      _mm512_maskz_permutexvar_ps(0xffff, bits_as<__m512i>(codes), bits_as<__m512>(levels)));
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
