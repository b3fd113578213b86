// int4_levels by reading a table, lane by lane.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

GAMELAN_INLINE Floats int4_levels(Words codes) {
  Floats levels;
  for (int lane = 0; lane < kLanes; ++lane) {
    levels[lane] = kInt4Unit * kInt4Levels[codes[lane]];
  }
  return levels;
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
