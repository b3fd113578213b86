// The table of a level, from what the inl/ files before it define.

namespace gamelan::kernels::cpu::GAMELAN_ISA {

constexpr std::size_t at(WeightScheme scheme) {
  return static_cast<std::size_t>(scheme);
}

static LinearKernels make_table() {
  LinearKernels linear;
  for (int& rows : linear.tile_rows) {
    rows = kVectorTileRows;
  }
  // Two sums for each output.
  linear.tile_rows[at(WeightScheme::kInt8)] = kVectorTileRows / 2;
  linear.tile[at(WeightScheme::kF32)] = float_tile<F32Panel>;
  linear.tile[at(WeightScheme::kF16)] = float_tile<F16Panel>;
  linear.tile[at(WeightScheme::kBF16)] = float_tile<Bf16Panel>;
  linear.prepare[at(WeightScheme::kBF16)] = round_to_bf16;
  linear.tile[at(WeightScheme::kInt8)] = int_tile<true>;
  linear.prepare[at(WeightScheme::kInt8)] = prepare_int16;
  linear.tile[at(WeightScheme::kInt8Dynamic)] = int_tile<false>;
  linear.prepare[at(WeightScheme::kInt8Dynamic)] = prepare_int8;
  linear.tile[at(WeightScheme::kInt4)] = int4_tile;
  linear.prepare[at(WeightScheme::kInt4)] = round_to_bf16;
  linear.finish = finish_tile;
  return linear;
}

}  // namespace gamelan::kernels::cpu::GAMELAN_ISA
