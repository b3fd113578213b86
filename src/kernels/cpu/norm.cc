#include "kernels/cpu/norm.h"

#include "base/status.h"
#include "kernels/cpu/row_kernels.h"

namespace gamelan::kernels::cpu {
namespace {

// Rows a thread takes at least: a row of 1024 columns costs about 0.3 us, waking threads about 2
// us.
constexpr std::int64_t kGrain = 4;

void check_shapes(const tensor::MatrixView<const float>& x, const tensor::MatrixView<float>& y) {
  GAMELAN_CHECK(x.rows == y.rows && x.columns == y.columns, "x and y have one shape");
}

}  // namespace

void layer_norm(const Context& context, tensor::MatrixView<const float> x,
                const NormParameters& parameters, tensor::MatrixView<float> y) {
  check_shapes(x, y);
  const detail::RowKernels& kernels = detail::row_kernels();
  context.threads->parallel_for(x.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      kernels.layer_norm(x.row(row), parameters, x.columns, y.row(row));
    }
  });
}

void rms_norm(const Context& context, tensor::MatrixView<const float> x,
              const NormParameters& parameters, tensor::MatrixView<float> y) {
  check_shapes(x, y);
  GAMELAN_CHECK(parameters.bias == nullptr, "rms_norm has no bias");
  const detail::RowKernels& kernels = detail::row_kernels();
  context.threads->parallel_for(x.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      kernels.rms_norm(x.row(row), parameters, x.columns, y.row(row));
    }
  });
}

}  // namespace gamelan::kernels::cpu
