#pragma once

#include <cstdint>
#include <span>

#include "io/weights.h"
#include "kernels/context.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// A table of vectors that is only looked up. Its rows are read where the checkpoint has them,
/// mapped and in their own type: there is no second copy.
class Embedding {
 public:
  Embedding() = default;
  /// The checkpoint must outlive the object.
  explicit Embedding(io::WeightView table) : table_(std::move(table)) {}

  bool empty() const { return table_.shape.empty(); }
  /// y [ids, columns] = rows `ids`. REQUIRES: they are in the table.
  void look_up(const kernels::Context& context, std::span<const std::int32_t> ids,
               tensor::MatrixView<float> y) const;
  /// y += rows `ids`.
  void add(const kernels::Context& context, std::span<const std::int32_t> ids,
           tensor::MatrixView<float> y) const;

 private:
  io::WeightView table_;
};

}  // namespace gamelan::infer
