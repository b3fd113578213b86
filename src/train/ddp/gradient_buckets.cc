#include "train/ddp/gradient_buckets.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "train/ddp/registered_tensor.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

std::string label(const std::vector<NamedTensor>& parameters, const BucketPlan& plan) {
  return fmt::format("gradients of '{}' to '{}' ({} parameters)",
                     parameters[plan.parameters.front()].name,
                     parameters[plan.parameters.back()].name, plan.parameters.size());
}

}  // namespace

GradientBuckets::GradientBuckets(std::shared_ptr<dist::ProcessGroup> group,
                                 const std::vector<NamedTensor>& parameters,
                                 std::vector<BucketPlan> plans, std::size_t trailer_count)
    : group_(std::move(group)),
      plans_(std::move(plans)),
      views_(parameters.size()),
      bucket_of_(parameters.size()),
      works_(plans_.size()) {
  for (std::size_t b = 0; b < plans_.size(); ++b) {
    const BucketPlan& plan = plans_[b];
    const bool last = b + 1 == plans_.size();
    const at::Tensor flat = registered_tensor(group_, plan.count + (last ? trailer_count : 0),
                                              scalar_type_of(plan.dtype));
    for (std::size_t i = 0; i < plan.parameters.size(); ++i) {
      const at::Tensor& parameter = parameters[plan.parameters[i]].tensor;
      const at::Tensor part =
          flat.narrow(0, static_cast<std::int64_t>(plan.offsets[i]), parameter.numel());
      const at::Tensor view =
          parameter.is_non_overlapping_and_dense()
              ? part.as_strided(parameter.sizes(), parameter.strides(), part.storage_offset())
              : part.view(parameter.sizes());
      // The same memory, but not a view in autograd's eyes: Optimizer::zero_grad calls detach_().
      views_[plan.parameters[i]] = view.variable_data();
      bucket_of_[plan.parameters[i]] = b;
    }
    flat_.push_back(flat);
    labels_.push_back(label(parameters, plan));
  }
  trailer_ = flat_.back().narrow(0, static_cast<std::int64_t>(plans_.back().count),
                                 static_cast<std::int64_t>(trailer_count));
  reset();
}

void GradientBuckets::reset() {
  next_ = 0;
  outstanding_.clear();
  for (const BucketPlan& plan : plans_) {
    outstanding_.push_back(plan.parameters.size());
  }
}

void GradientBuckets::arrived(std::size_t parameter) {
  --outstanding_[bucket_of_[parameter]];
  while (next_ + 1 < plans_.size() && outstanding_[next_] == 0) {
    launch(next_++);
  }
}

void GradientBuckets::launch_rest() {
  while (next_ < plans_.size()) {
    launch(next_++);
  }
}

void GradientBuckets::launch(std::size_t bucket) {
  works_[bucket] = group_->all_reduce(view_of(flat_[bucket]));
}

base::Status GradientBuckets::wait() {
  base::Status result = base::OkStatus();
  for (std::size_t b = 0; b < next_; ++b) {
    if (const base::Status status = works_[b].wait(); !status.ok() && result.ok()) {
      result = base::annotate(status, "DistributedDataParallel: " + labels_[b]);
    }
    works_[b] = {};
  }
  return result;
}

}  // namespace gamelan::train
