#include "kernels/cpu/rotary.h"

#include "base/status.h"
#include "kernels/cpu/row_kernels.h"

namespace gamelan::kernels::cpu {

void rotate(const Context& context, std::span<const std::int32_t> positions,
            const RotaryTable& table, std::int64_t heads, std::int64_t head_dim,
            tensor::MatrixView<float> x) {
  const std::int64_t half = table.cosine.columns;
  GAMELAN_CHECK(static_cast<std::int64_t>(positions.size()) == x.rows, "one position a row");
  GAMELAN_CHECK(x.columns == heads * head_dim && 2 * half <= head_dim,
                "x has heads * head_dim columns, and rotary_dim is at most head_dim");
  const detail::RowKernels& kernels = detail::row_kernels();
  context.threads->parallel_for(x.rows, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t position = positions[static_cast<std::size_t>(row)];
      GAMELAN_CHECK(position >= 0 && position < table.cosine.rows, "the table has the position");
      const float* const cosine = table.cosine.row(position);
      const float* const sine = table.sine.row(position);
      for (std::int64_t head = 0; head < heads; ++head) {
        float* const low = x.row(row) + head * head_dim;
        kernels.rotate(cosine, sine, half, low, low + half);
      }
    }
  });
}

}  // namespace gamelan::kernels::cpu
