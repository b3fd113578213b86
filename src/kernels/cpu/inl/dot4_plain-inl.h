// dot4 where there is no instruction for it: each byte of a column's four is moved up and back,
// which extends its sign.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

GAMELAN_INLINE Ints dot4(Ints sums, std::uint32_t inputs, Ints weights) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto input = static_cast<std::int32_t>((inputs >> (8 * i)) & 0xffU);
    sums += ((weights << (24 - 8 * i)) >> 24) * input;
  }
  return sums;
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
