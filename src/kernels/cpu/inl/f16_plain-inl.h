// widen_f16 where there is no instruction for it.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

/// f16, subnormals, infinities and NaNs included: the exponent is moved to f32's place and its bias
/// corrected by a multiplication, which normalises subnormals.
GAMELAN_INLINE Floats widen_f16(const std::uint16_t* from) {
  const Words half = words_of(from);
  const Words sign = (half & 0x8000U) << 16;
  const Words rest = (half & 0x7fffU) << 13;
  const Floats scaled = bits_as<Floats>(rest) * 0x1p112F;
  const Words finite = bits_as<Words>(scaled);
  const Words special = rest | 0x7f800000U;
  return bits_as<Floats>((rest >= (0x7c00U << 13) ? special : finite) | sign);
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
