#include "infer/model/assembled_matrix.h"

#include <algorithm>
#include <utility>

#include "io/weight_rows.h"

namespace gamelan::infer {
namespace {

/// Rows `first` … of W, columns `inputs`, row-major.
void read_matrix(const MatrixSource& source, std::int64_t first, std::int64_t count, Range inputs,
                 std::span<float> out) {
  if (source.input_first) {
    io::read_block_transposed(source.weight, {inputs.first, inputs.count, first, count}, out);
  } else {
    io::read_block(source.weight, {first, count, inputs.first, inputs.count}, out);
  }
}

}  // namespace

std::int64_t AssembledMatrix::rows() const {
  std::int64_t total = 0;
  for (const RowRun& run : runs) {
    total += run.count;
  }
  return total;
}

kernels::cpu::RowReader AssembledMatrix::reader() const {
  return [this](std::int64_t first, std::int64_t count, std::span<float> out) {
    std::int64_t start = 0;  // of the run, among all rows
    for (const RowRun& run : runs) {
      const std::int64_t from = std::max(first, start);
      const std::int64_t to = std::min(first + count, start + run.count);
      if (from < to) {
        read_matrix(sources[run.source], run.first + from - start, to - from, inputs,
                    out.subspan(static_cast<std::size_t>((from - first) * inputs.count),
                                static_cast<std::size_t>((to - from) * inputs.count)));
      }
      start += run.count;
    }
  };
}

std::vector<float> AssembledMatrix::bias() const {
  std::vector<float> values;
  for (const RowRun& run : runs) {
    if (const std::optional<io::WeightView>& bias = sources[run.source].bias) {
      const std::size_t old = values.size();
      values.resize(old + static_cast<std::size_t>(run.count));
      io::read_block(*bias, {0, 1, run.first, run.count}, std::span(values).subspan(old));
    }
  }
  return values;
}

void AssembledMatrix::release_pages() const {
  for (const MatrixSource& source : sources) {
    io::release_pages(source.weight);
  }
}

AssembledMatrix whole_matrix(MatrixSource source, std::int64_t rows, Range inputs) {
  return {{std::move(source)}, {{0, 0, rows}}, inputs};
}

}  // namespace gamelan::infer
