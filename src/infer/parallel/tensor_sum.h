#pragma once

#include "base/status.h"
#include "dist/collective/process_group.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// Sums the ranks' shares of a matrix; every rank gets the sum, bit for bit the same.
struct TensorSum {
  /// The ranks of one stage; null = there is one.
  dist::ProcessGroup* group = nullptr;

  /// In place. REQUIRES: x is contiguous.
  base::Status operator()(tensor::MatrixView<float> x) const {
    if (group == nullptr) {
      return base::OkStatus();
    }
    return group->all_reduce(tensor::view_of(x.data, static_cast<std::size_t>(x.rows * x.columns)))
        .wait();
  }
};

}  // namespace gamelan::infer
