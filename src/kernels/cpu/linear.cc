#include "kernels/cpu/linear.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/packed_linear.h"

namespace gamelan::kernels::cpu {
namespace {

/// The activations of a call in the form that the scheme's products read.
struct Prepared {
  std::byte* data = nullptr;
  std::byte* low = nullptr;
  float* scale = nullptr;
  std::size_t stride = 0;
};

std::size_t activation_bytes(WeightScheme scheme, const LinearKernels& kernels) {
  const bool bf16 = scheme == WeightScheme::kBF16 || scheme == WeightScheme::kInt4;
  return bf16 ? kernels.bf16_activation_bytes : 1;
}

/// The sizes of prepared rows.
struct PreparedSize {
  PreparedSize(const PackedLinear::Impl& weight, std::int64_t rows, const LinearKernels& kernels)
      : each(activation_bytes(weight.scheme, kernels)),
        padded(static_cast<std::size_t>(weight.padded_in()) * each),
        // Whole cache lines: two threads never write the same one.
        stride((padded + 63) / 64 * 64),
        tile_rows(kernels.tile_rows[static_cast<std::size_t>(weight.scheme)]) {
    // Rows at multiples of a page would compete for the same lines of the first-level cache.
    stride += stride % 1024 == 0 ? 64 : 0;
    bytes = static_cast<std::size_t>((rows + tile_rows - 1) / tile_rows * tile_rows) * stride;
  }
  std::size_t each;
  std::size_t padded;  // bytes of a row
  std::size_t stride;
  std::int64_t tile_rows;
  std::size_t bytes = 0;  // of all rows, up to the end of the last tile
};

Prepared prepare(const Context& context, const PackedLinear::Impl& weight,
                 tensor::MatrixView<const float> x, const LinearKernels& kernels) {
  Prepared result;
  const PrepareFunction function = kernels.prepare[static_cast<std::size_t>(weight.scheme)];
  if (function == nullptr) {
    return result;
  }
  const PreparedSize size(weight, x.rows, kernels);
  const std::size_t used = static_cast<std::size_t>(x.columns) * size.each;
  const std::size_t padded = size.padded;
  result.stride = size.stride;
  result.data = static_cast<std::byte*>(context.workspace->take_bytes(size.bytes));
  if (weight.scheme == WeightScheme::kInt8) {
    // The lower bytes of few rows share a tile with the upper ones.
    result.low = x.rows <= size.tile_rows / 2
                     ? result.data + static_cast<std::size_t>(size.tile_rows / 2) * size.stride
                     : static_cast<std::byte*>(context.workspace->take_bytes(size.bytes));
  }
  result.scale = context.workspace->take<float>(x.rows);
  context.threads->parallel_for(x.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::size_t at = static_cast<std::size_t>(row) * result.stride;
      function(x.row(row), x.columns, result.data + at,
               result.low == nullptr ? nullptr : result.low + at, result.scale + row);
      // Whatever lay there could be a NaN, whose product with a weight of 0 is one.
      std::memset(result.data + at + used, 0, padded - used);
    }
  });
  return result;
}

TileRows rows_at(const Prepared& prepared, tensor::MatrixView<const float> x, std::int64_t row) {
  TileRows rows;
  if (prepared.data == nullptr) {
    rows.data = reinterpret_cast<const std::byte*>(x.row(row));
    rows.stride = static_cast<std::size_t>(x.stride) * sizeof(float);
    return rows;
  }
  const std::size_t at = static_cast<std::size_t>(row) * prepared.stride;
  rows.data = prepared.data + at;
  rows.stride = prepared.stride;
  rows.low = prepared.low == nullptr ? nullptr : prepared.low + at;
  rows.scale = prepared.scale + row;
  return rows;
}

TileOutput output_of(std::int64_t panel, const PackedLinear::Impl& weight,
                     tensor::MatrixView<float> y, const LinearOptions& options) {
  const std::int64_t first = panel * kPanel;
  TileOutput output;
  output.y = y.data + (options.gated ? first / 2 : first);
  output.stride = y.stride;
  output.columns = static_cast<int>(std::min(kPanel, weight.out - first));
  output.bias = options.bias == nullptr ? nullptr : options.bias + first;
  output.activation = options.activation;
  output.accumulate = options.accumulate;
  output.gated = options.gated;
  return output;
}

// Beyond it a call's products take much longer than reading the weights does.
constexpr std::int64_t kRowsOfEqualShares = 96;
// Tile functions walk a panel in steps of so many bytes, or less.
constexpr std::size_t kStepBytes = 4 * kPanel;

/// What the tile's results will be written to arrives while they are computed.
void fetch_output(const TileOutput& output, int rows) {
  constexpr int kLine = 64 / sizeof(float);
  const int columns = output.gated ? output.columns / 2 : output.columns;
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; c += kLine) {
      __builtin_prefetch(output.y + r * output.stride + c, 1);
    }
  }
}

/// What each tile of a panel asks for while it is computed: a share of the panel that comes next,
/// so that with few rows a call takes the longer of reading and multiplying, not their sum; and
/// with many rows the next tile's activations, which are too short for the hardware to see them
/// coming.
class Ahead {
 public:
  Ahead(const PackedLinear::Impl& weight, std::int64_t index, std::int64_t end, std::int64_t tiles)
      : steps_(weight.panel_bytes() / kStepBytes), tiles_(static_cast<std::size_t>(tiles)) {
    // The only tile's own reading is what the hardware sees coming.
    if (index < end && tiles > 1) {
      data_ = weight.panel(index).data;
      step_ = std::min<std::size_t>(128, (kStepBytes + tiles_ - 1) / tiles_);
    }
  }

  /// `rows` are those of the next tile.
  void share_of(std::size_t tile, const TileRows& rows, int count, TilePanel& panel) const {
    panel.next[0] = data_ == nullptr ? panel.data : data_ + tile * step_ * steps_;
    panel.next_step[0] = step_;
    panel.next[1] = panel.next[0] + 64;
    panel.next_step[1] = step_;
    if (step_ <= 64 && steps_ > 0) {
      panel.next[1] = rows.data;
      panel.next_step[1] = rows.stride * static_cast<std::size_t>(count) / steps_;
    }
  }

 private:
  const std::byte* data_ = nullptr;
  std::size_t steps_;
  std::size_t tiles_;
  std::size_t step_ = 0;
};

}  // namespace

std::size_t linear_workspace_bytes(const PackedLinear& weight, std::int64_t rows) {
  const PackedLinear::Impl& impl = weight.impl();
  const LinearKernels& kernels = linear_kernels_of(isa_level());
  if (kernels.prepare[static_cast<std::size_t>(impl.scheme)] == nullptr) {
    return 0;
  }
  const PreparedSize size(impl, rows, kernels);
  return device::Arena::rounded(size.bytes) * (impl.scheme == WeightScheme::kInt8 ? 2 : 1) +
         device::Arena::rounded(static_cast<std::size_t>(rows) * sizeof(float));
}

GatedRow gated_row(std::int64_t row, std::int64_t width) {
  const std::int64_t pair = row / (2 * kGatedHalf);
  const std::int64_t within = row % (2 * kGatedHalf);
  const std::int64_t half = std::min(kGatedHalf, width - pair * kGatedHalf);
  const bool is_gate = within < half;
  return {is_gate, pair * kGatedHalf + (is_gate ? within : within - half)};
}

void linear(const Context& context, const PackedLinear& weight, tensor::MatrixView<const float> x,
            tensor::MatrixView<float> y, const LinearOptions& options) {
  const PackedLinear::Impl& impl = weight.impl();
  GAMELAN_CHECK(x.columns == impl.in && y.rows == x.rows &&
                    y.columns == (options.gated ? impl.out / 2 : impl.out),
                "linear [{}, {}]: x [{}, {}], y [{}, {}]", impl.out, impl.in, x.rows, x.columns,
                y.rows, y.columns);
  if (x.rows == 0) {
    return;
  }
  const device::Arena::Scope scope(*context.workspace);
  const LinearKernels& kernels = linear_kernels_of(isa_level());
  const auto scheme = static_cast<std::size_t>(impl.scheme);
  const Prepared prepared = prepare(context, impl, x, kernels);
  const std::int64_t step = kernels.tile_rows[scheme];
  const std::int64_t tiles = (x.rows + step - 1) / step;
  // Few rows are limited by memory, and equal shares of panels are equal shares of its bandwidth;
  // of many rows' panels each thread takes the next.
  const bool shares = x.rows <= kRowsOfEqualShares;
  const std::int64_t distance = shares ? 1 : context.threads->size();
  const auto panels = [&](std::int64_t begin, std::int64_t end, int) {
    alignas(64) float tile[kMaxTileRows * kPanel];
    if (kernels.begin != nullptr) {
      kernels.begin();
    }
    for (std::int64_t p = begin; p < end; ++p) {
      // The panel stays in the second-level cache while the rows go by, and the one after it
      // arrives there.
      const Ahead ahead(impl, p + distance, shares ? end : impl.panels(), tiles);
      TilePanel panel = impl.panel(p);
      TileOutput output = output_of(p, impl, y, options);
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t row = t * step;
        const int count = static_cast<int>(std::min(step, x.rows - row));
        const std::int64_t after = t + 1 < tiles ? row + step : 0;
        ahead.share_of(static_cast<std::size_t>(t), rows_at(prepared, x, after), count, panel);
        fetch_output(output, count);
        kernels.tile[scheme](rows_at(prepared, x, row), count, panel, tile);
        kernels.finish(tile, count, output);
        output.y += step * y.stride;
      }
    }
    if (kernels.end != nullptr) {
      kernels.end();
    }
  };
  if (shares) {
    context.threads->parallel_for(impl.panels(), 1, panels);
  } else {
    context.threads->parallel_for_dynamic(impl.panels(), 1, panels);
  }
}

}  // namespace gamelan::kernels::cpu
