#include "infer/layers/embedding.h"

#include "io/weight_rows.h"
#include "kernels/cpu/elementwise.h"

namespace gamelan::infer {
namespace {

// Rows that are worth a thread: reading one of 1024 columns takes about 0.3 us.
constexpr std::int64_t kGrain = 16;

}  // namespace

void Embedding::look_up(const kernels::Context& context, std::span<const std::int32_t> ids,
                        tensor::MatrixView<float> y) const {
  context.threads->parallel_for(y.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      io::read_row(table_, ids[static_cast<std::size_t>(i)],
                   {y.row(i), static_cast<std::size_t>(y.columns)});
    }
  });
}

void Embedding::add(const kernels::Context& context, std::span<const std::int32_t> ids,
                    tensor::MatrixView<float> y) const {
  const device::Arena::Scope scope(*context.workspace);
  const tensor::MatrixView<float> rows(context.workspace->take<float>(y.rows * y.columns), y.rows,
                                       y.columns);
  look_up(context, ids, rows);
  kernels::cpu::add(context, rows, y);
}

}  // namespace gamelan::infer
