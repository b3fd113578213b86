#include "train/ddp/bucket_plan.h"

#include <algorithm>
#include <map>
#include <utility>

namespace gamelan::train {
namespace {

constexpr std::size_t kAlignmentBytes = 64;

// A bucket being filled.
struct OpenBucket {
  BucketPlan plan;
  std::size_t bytes = 0;
  bool first = true;
};

}  // namespace

std::size_t aligned_count(std::size_t count, tensor::DType dtype) {
  const std::size_t unit = kAlignmentBytes / tensor::size_of(dtype);
  return (count + unit - 1) / unit * unit;
}

std::vector<BucketPlan> plan_buckets(std::span<const GradientSize> gradients,
                                     std::span<const std::size_t> order,
                                     std::size_t first_cap_bytes, std::size_t cap_bytes) {
  // Each finished plan with the place in `order` of its last parameter.
  std::vector<std::pair<std::size_t, BucketPlan>> closed;
  std::map<tensor::DType, OpenBucket> open;
  std::vector<std::size_t> place(gradients.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t parameter = order[i];
    place[parameter] = i;
    const auto [count, dtype] = gradients[parameter];
    OpenBucket& bucket = open[dtype];
    bucket.plan.dtype = dtype;
    bucket.plan.parameters.push_back(parameter);
    bucket.plan.offsets.push_back(bucket.plan.count);
    bucket.plan.count += aligned_count(count, dtype);
    bucket.bytes += count * tensor::size_of(dtype);
    if (bucket.bytes >= (bucket.first ? first_cap_bytes : cap_bytes)) {
      closed.emplace_back(i, std::exchange(bucket.plan, {}));
      bucket.bytes = 0;
      bucket.first = false;
    }
  }
  for (auto& [dtype, bucket] : open) {
    if (!bucket.plan.parameters.empty()) {
      closed.emplace_back(place[bucket.plan.parameters.back()], std::move(bucket.plan));
    }
  }
  std::sort(closed.begin(), closed.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<BucketPlan> plans;
  plans.reserve(closed.size());
  for (auto& [last, plan] : closed) {
    plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace gamelan::train
