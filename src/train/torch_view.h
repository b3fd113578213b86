#pragma once

// The one place where an at::Tensor becomes a view, and where a Status becomes a LibTorch exception.

#include <ATen/core/Tensor.h>

#include "base/status.h"
#include "tensor/buffer_view.h"

namespace gamelan::train {

/// The element type of `type`; throws c10::TypeError for those that collectives and files cannot carry.
tensor::DType dtype_of(at::ScalarType type);
at::ScalarType scalar_type_of(tensor::DType dtype);

/// A view of `tensor`'s memory. Throws c10::Error unless it is dense, non-overlapping and on the CPU:
/// elements are seen in memory order. The tensor must outlive the view.
tensor::BufferView view_of(const at::Tensor& tensor);

/// Throws c10::Error with the status's message unless it is OK: LibTorch users expect exceptions at the
/// public edge of train/.
void throw_if_error(const base::Status& status);

/// The value of `result`, or its error thrown.
template <class T>
T value_or_throw(base::StatusOr<T> result) {
  throw_if_error(result.status());
  return *std::move(result);
}

}  // namespace gamelan::train
