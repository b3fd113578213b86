#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "tensor/dtype.h"

namespace gamelan::train {

/// What the plan needs to know of a parameter.
struct GradientSize {
  std::size_t count = 0;
  tensor::DType dtype = tensor::DType::kF32;
};

/// Gradients of one element type that are reduced by one all_reduce.
struct BucketPlan {
  tensor::DType dtype = tensor::DType::kF32;
  /// Indices of parameters, in the order in which their gradients are expected.
  std::vector<std::size_t> parameters;
  /// Where each starts, in elements; multiples of 64 bytes.
  std::vector<std::size_t> offsets;
  /// Elements in all, gaps included.
  std::size_t count = 0;

  bool operator==(const BucketPlan&) const = default;
};

/// Cuts the parameters, taken in `order`, into buckets of one dtype each. A bucket is closed as
/// soon as its gradients reach the limit: `first_cap_bytes` for the first of a dtype, so that
/// communication begins early, then `cap_bytes`. The buckets are sorted by the moment in which they
/// will be complete (their last parameter's place in `order`): launching them in this order never
/// waits without need.
std::vector<BucketPlan> plan_buckets(std::span<const GradientSize> gradients,
                                     std::span<const std::size_t> order,
                                     std::size_t first_cap_bytes, std::size_t cap_bytes);

/// `count` elements rounded up to a multiple of 64 bytes.
std::size_t aligned_count(std::size_t count, tensor::DType dtype);

}  // namespace gamelan::train
