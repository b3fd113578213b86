#include "io/weight_layouts.h"

#include <utility>

#include "io/weight_rows.h"

namespace gamelan::io {

std::int64_t RowOrder::source_row(std::int64_t row) const {
  if (kind == Kind::kRotaryPairs) {
    const std::int64_t within = row % head_dim;
    const std::int64_t half = head_dim / 2;
    return row - within + (within < half ? 2 * within : 2 * (within - half) + 1);
  }
  const std::int64_t head = row / (3 * head_dim);
  const std::int64_t part = row / head_dim % 3;
  return (part * heads + head) * head_dim + row % head_dim;
}

ReorderedRows::ReorderedRows(WeightView source, RowOrder order)
    : source_(std::move(source)),
      order_(order),
      name_(std::string(storage_name_of(source_)) + ", rows reordered") {
  if (source_.shape.size() == 1) {
    source_.shape.push_back(1);
  }
}

void ReorderedRows::read(const WeightView& view, const WeightBlock& block,
                         std::span<float> out) const {
  if (view.shape.size() == 1) {  // one row of scalars that are the source's rows
    for (std::int64_t i = 0; i < block.columns; ++i) {
      read_block(source_, {order_.source_row(block.first_column + i), 1, 0, 1},
                 out.subspan(static_cast<std::size_t>(i), 1));
    }
    return;
  }
  const auto columns = static_cast<std::size_t>(block.columns);
  for (std::int64_t i = 0; i < block.rows; ++i) {
    read_block(source_,
               {order_.source_row(block.first_row + i), 1, block.first_column, block.columns},
               out.subspan(static_cast<std::size_t>(i) * columns, columns));
  }
}

void ReorderedRows::release_pages(const WeightView&) const {
  io::release_pages(source_);
}

TransposedMatrix::TransposedMatrix(WeightView source)
    : source_(std::move(source)), name_(std::string(storage_name_of(source_)) + ", transposed") {}

WeightView TransposedMatrix::view() const {
  WeightView view = source_;
  std::swap(view.shape[0], view.shape[1]);
  view.bytes = {};
  view.decoder = this;
  return view;
}

void TransposedMatrix::read(const WeightView&, const WeightBlock& block,
                            std::span<float> out) const {
  read_block_transposed(source_, {block.first_column, block.columns, block.first_row, block.rows},
                        out);
}

void TransposedMatrix::release_pages(const WeightView&) const {
  io::release_pages(source_);
}

}  // namespace gamelan::io
