#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "infer/layers/norm.h"
#include "infer/layers/projection.h"
#include "infer/parallel/partition.h"
#include "kernels/context.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// From the last block's output to logits: norm, projection to the width of the embeddings where
/// that differs, product with this rank's rows of the vocabulary.
struct Head {
  std::optional<Norm> norm;
  Projection project;
  Projection vocabulary;  // [vocabulary part, embedding_size]

  /// x [rows, hidden] is used up; y [rows, vocabulary part].
  void operator()(const kernels::Context& context, tensor::MatrixView<float> x,
                  tensor::MatrixView<float> y) const {
    if (norm) {
      (*norm)(context, x, x);
    }
    if (project.empty()) {
      vocabulary(context, x, y);
      return;
    }
    const device::Arena::Scope scope(*context.workspace);
    const std::int64_t width = project.weight.out_features();
    const tensor::MatrixView<float> narrow(context.workspace->take<float>(x.rows * width), x.rows,
                                           width);
    project(context, x, narrow);
    vocabulary(context, narrow, y);
  }
  /// What a call takes of the workspace.
  std::size_t workspace_bytes(std::int64_t rows) const {
    const std::size_t product = kernels::cpu::linear_workspace_bytes(vocabulary.weight, rows);
    if (project.empty()) {
      return product;
    }
    const auto width = static_cast<std::size_t>(rows * project.weight.out_features());
    return device::Arena::rounded(width * sizeof(float)) +
           std::max(product, kernels::cpu::linear_workspace_bytes(project.weight, rows));
  }
  std::size_t size_bytes() const {
    return (norm ? norm->size_bytes() : 0) + project.size_bytes() + vocabulary.size_bytes();
  }
};

}  // namespace gamelan::infer
