// widen_f16 by AVX512F. With a mask of ones: GCC 12 warns about the plain intrinsic's undefined
// operand.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

GAMELAN_INLINE Floats widen_f16(const std::uint16_t* from) {
  return bits_as<Floats>(_mm512_maskz_cvtph_ps(0xffff, load<__m256i>(from)));
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
