#pragma once

// y = activation(x * W^T + bias), the product behind every projection (docs/kernels.md).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/status.h"
#include "kernels/context.h"
#include "kernels/weight_scheme.h"
#include "tensor/matrix_view.h"

namespace gamelan::kernels::cpu {

/// Gives rows first … first + count - 1 of the matrix W [out, in] as f32, row-major, into `out`
/// [count, in]. Called from the pool's threads at the same time.
using RowReader = std::function<void(std::int64_t first, std::int64_t count, std::span<float> out)>;

/// How a matrix is kept.
struct PackOptions {
  WeightScheme scheme = WeightScheme::kF32;
  /// kInt4: inputs of a row that share a scale; 32, 64 or 128.
  std::int64_t group_size = 32;
};

/// The matrix of a linear layer in the one layout that both the products of prefill and those of
/// decoding read (docs/kernels.md). Immutable after pack(), so any thread may use it.
class PackedLinear {
 public:
  PackedLinear();
  ~PackedLinear();
  PackedLinear(PackedLinear&&) noexcept;
  PackedLinear& operator=(PackedLinear&&) noexcept;

  /// One pass over the rows. kInvalidArgument when a size is not positive or the numbers of a row
  /// do not fit the scheme (int8: not finite, more than 65,536 inputs; int4: beyond f16, another
  /// size of groups), kResourceExhausted when there is no memory.
  static base::StatusOr<PackedLinear> pack(const Context& context, std::int64_t out_features,
                                           std::int64_t in_features, const RowReader& rows,
                                           const PackOptions& options);

  std::int64_t out_features() const;
  std::int64_t in_features() const;
  WeightScheme scheme() const;
  /// What a product reads: numbers, scales and zero points, padding included.
  std::size_t size_bytes() const;
  bool empty() const { return impl_ == nullptr; }

  /// Row `row` of W as the kernels see it, dequantised, into `out` [in]: a tied embedding, tests.
  void read_row(std::int64_t row, std::span<float> out) const;

  class Impl;
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

enum class LinearActivation : std::uint8_t { kNone, kGelu, kGeluTanh, kRelu, kSilu };

struct LinearOptions {
  /// [out] or null.
  const float* bias = nullptr;
  /// Applied to product + bias.
  LinearActivation activation = LinearActivation::kNone;
  /// Adds to what y holds instead of overwriting it (a residual): y += activation(product + bias).
  bool accumulate = false;
  /// Every 2 * kGatedHalf rows of W are kGatedHalf rows of a gate, then the kGatedHalf rows of the
  /// values that it multiplies: y [rows, out / 2] = activation(gate) * value. Rows beyond a
  /// multiple are split in two halves likewise. gated_row() says which row goes where.
  bool gated = false;
};

inline constexpr std::int64_t kGatedHalf = 16;
/// Row `row` of the joined matrix [2 * width, in] is row `index` of the gate or of the values.
struct GatedRow {
  bool is_gate = false;
  std::int64_t index = 0;
};
GatedRow gated_row(std::int64_t row, std::int64_t width);

/// x [rows, in], y [rows, out] (gated: [rows, out / 2]); x and y do not overlap. Sums in an order
/// that depends on the shape of W alone, not on the number of rows or threads: a row's result has
/// the same bits alone and in a batch. REQUIRES: the shapes fit.
void linear(const Context& context, const PackedLinear& weight, tensor::MatrixView<const float> x,
            tensor::MatrixView<float> y, const LinearOptions& options = {});

/// What linear() takes of the workspace for so many rows.
std::size_t linear_workspace_bytes(const PackedLinear& weight, std::int64_t rows);

}  // namespace gamelan::kernels::cpu
