#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "dist/collective/process_group.h"

namespace gamelan::train {

struct OrderedGatherOptions {
  /// The rank that gets the result; kAllRanks = every one.
  int root = 0;
  static constexpr int kAllRanks = -1;
  /// 0 = the group's timeout.
  std::chrono::milliseconds timeout{0};
};

/// Collects what the ranks computed for their parts of a data set in the order of the data set.
///
/// `rows` [n, …]: one row for each of this rank's samples; `indices` [n]: which sample each row
/// belongs to (DistributedSampler::indices()). n may differ between the ranks and may be 0; the
/// trailing dimensions and the element type must agree. Together the ranks must have every sample 0
/// … size-1; of a sample that several rows belong to (a sampler that repeats) the lowest rank's
/// first counts. The rows are copied, no gradient flows.
///
/// Returns [size, …] on the root and an undefined tensor elsewhere. A collective: every rank calls
/// it. Throws c10::Error, the same on every rank, when shapes, element types, indices or coverage
/// are wrong.
at::Tensor gather_in_order(dist::ProcessGroup& group, const at::Tensor& rows,
                           std::span<const std::size_t> indices, std::size_t size,
                           const OrderedGatherOptions& options = {});

}  // namespace gamelan::train
