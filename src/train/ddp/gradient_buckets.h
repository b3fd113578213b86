#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "dist/collective/process_group.h"
#include "train/ddp/bucket_plan.h"
#include "train/ddp/named_tensor.h"

namespace gamelan::train {

/// The memory in which gradients are summed, and the operations that sum it: one all_reduce a
/// bucket, always started in the order of the plans, which is the same on every rank, and never in
/// the order in which buckets happen to be complete. The last bucket has `trailer_count` elements
/// more, and is started only by `launch_rest`: what the trailer says is then final.
///
/// Used by one thread.
class GradientBuckets {
 public:
  /// A plan names indices of `parameters`; every parameter is in exactly one.
  GradientBuckets(std::shared_ptr<dist::ProcessGroup> group,
                  const std::vector<NamedTensor>& parameters, std::vector<BucketPlan> plans,
                  std::size_t trailer_count);

  const std::vector<BucketPlan>& plans() const { return plans_; }
  /// Where the gradient of `parameter` is summed: its shape, and its strides if it is dense.
  const at::Tensor& view(std::size_t parameter) const { return views_[parameter]; }
  const at::Tensor& trailer() const { return trailer_; }

  /// Begins a pass. REQUIRES: no operation is under way.
  void reset();
  /// The gradient of `parameter` is in its view. Starts every bucket but the last that is complete
  /// and has no incomplete one before it.
  void arrived(std::size_t parameter);
  /// Starts the others, complete or not.
  void launch_rest();
  /// Waits for all that were started, also when one has failed. The first error, with the names of
  /// its bucket's parameters.
  base::Status wait();

 private:
  void launch(std::size_t bucket);

  std::shared_ptr<dist::ProcessGroup> group_;
  std::vector<BucketPlan> plans_;
  std::vector<at::Tensor> flat_;          // [plan.count], the last one with the trailer behind
  std::vector<at::Tensor> views_;         // by parameter
  std::vector<std::string> labels_;       // by bucket, for errors
  std::vector<std::size_t> bucket_of_;    // by parameter
  std::vector<std::size_t> outstanding_;  // by bucket: gradients that have not arrived
  std::vector<dist::Work> works_;         // by bucket, valid when started
  std::size_t next_ = 0;                  // the first bucket that has not been started
  at::Tensor trailer_;
};

}  // namespace gamelan::train
