// widen_f16 by F16C.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

GAMELAN_INLINE Floats widen_f16(const std::uint16_t* from) {
  return bits_as<Floats>(_mm256_cvtph_ps(load<__m128i>(from)));
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
