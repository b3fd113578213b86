#pragma once

// The loops over one row of norm.cc, elementwise.cc, rotary.cc and attention_append.cc, which are
// compiled for several instruction sets.

#include <cstdint>

#include "kernels/cpu/norm.h"

namespace gamelan::kernels::cpu::detail {

struct RowKernels {
  /// y [columns] = the norm of x [columns]; the same memory is fine.
  void (*layer_norm)(const float* x, const NormParameters& parameters, std::int64_t columns,
                     float* y);
  void (*rms_norm)(const float* x, const NormParameters& parameters, std::int64_t columns,
                   float* y);
  /// y += x.
  void (*add)(const float* x, std::int64_t columns, float* y);
  /// Rotates low[i] and high[i] for i < half.
  void (*rotate)(const float* cosine, const float* sine, std::int64_t half, float* low,
                 float* high);
  /// to [count] = from, rounded to bf16 as tensor::to_bfloat16 does.
  void (*round_bf16)(const float* from, std::int64_t count, std::uint16_t* to);
  /// to [count] = pairs of `first`, in the low half, and `second`.
  void (*pair_bf16)(const float* first, const float* second, std::int64_t count, std::uint32_t* to);
};

extern const RowKernels kRowsScalar;
extern const RowKernels kRowsAvx2;
extern const RowKernels kRowsAvx512;
/// Those of isa_level().
const RowKernels& row_kernels();

}  // namespace gamelan::kernels::cpu::detail
