// From exact sums of integers to outputs: see linear_int-inl.h.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

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

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
