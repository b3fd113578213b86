#pragma once

#include <cstdint>

namespace gamelan::tensor {

/// A row-major matrix that somebody else owns: [rows, columns], `stride` elements from one row to
/// the next. Copying copies the view.
template <class T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;

  MatrixView() = default;
  /// Contiguous rows.
  MatrixView(T* data, std::int64_t rows, std::int64_t columns)
      : data(data), rows(rows), columns(columns), stride(columns) {}
  MatrixView(T* data, std::int64_t rows, std::int64_t columns, std::int64_t stride)
      : data(data), rows(rows), columns(columns), stride(stride) {}

  T* row(std::int64_t index) const { return data + index * stride; }
  MatrixView block(std::int64_t first_row, std::int64_t row_count) const {
    return {row(first_row), row_count, columns, stride};
  }
  operator MatrixView<const T>() const { return {data, rows, columns, stride}; }
};

}  // namespace gamelan::tensor
