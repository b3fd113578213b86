// dot4 by AVX512_VNNI.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

GAMELAN_INLINE Ints dot4(Ints sums, std::uint32_t inputs, Ints weights) {
  return bits_as<Ints>(_mm512_dpbusd_epi32(bits_as<__m512i>(sums),
                                           _mm512_set1_epi32(static_cast<int>(inputs)),
                                           bits_as<__m512i>(weights)));
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
