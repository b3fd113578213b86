#include "kernels/cpu/elementwise.h"

#include <cmath>
#include <cstring>

#include "base/status.h"
#include "kernels/cpu/row_kernels.h"

namespace gamelan::kernels::cpu {
namespace {

// Rows that are worth a thread: 16 rows of 1024 columns are 64 KiB, some 3 us of copying.
constexpr std::int64_t kGrain = 16;

template <class F>
void for_each_row(const Context& context, std::int64_t rows, std::int64_t grain, F&& body) {
  context.threads->parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      body(row);
    }
  });
}

void check_shapes(const tensor::MatrixView<const float>& x, const tensor::MatrixView<float>& y) {
  GAMELAN_CHECK(x.rows == y.rows && x.columns == y.columns, "x and y have one shape");
}

}  // namespace

void add(const Context& context, tensor::MatrixView<const float> x, tensor::MatrixView<float> y) {
  check_shapes(x, y);
  const detail::RowKernels& kernels = detail::row_kernels();
  for_each_row(context, y.rows, kGrain,
               [&](std::int64_t row) { kernels.add(x.row(row), y.columns, y.row(row)); });
}

void add_bias(const Context& context, const float* bias, tensor::MatrixView<float> y) {
  const detail::RowKernels& kernels = detail::row_kernels();
  for_each_row(context, y.rows, kGrain,
               [&](std::int64_t row) { kernels.add(bias, y.columns, y.row(row)); });
}

void copy(const Context& context, tensor::MatrixView<const float> x, tensor::MatrixView<float> y) {
  check_shapes(x, y);
  if (y.columns == 0) {
    return;
  }
  for_each_row(context, y.rows, kGrain, [&](std::int64_t row) {
    std::memmove(y.row(row), x.row(row), static_cast<std::size_t>(y.columns) * sizeof(float));
  });
}

void tanh(const Context& context, tensor::MatrixView<const float> x, tensor::MatrixView<float> y) {
  check_shapes(x, y);
  for_each_row(context, y.rows, 1, [&](std::int64_t row) {
    const float* const from = x.row(row);
    float* const to = y.row(row);
    for (std::int64_t i = 0; i < y.columns; ++i) {
      to[i] = std::tanh(from[i]);
    }
  });
}

}  // namespace gamelan::kernels::cpu
