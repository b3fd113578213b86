#include "train/ddp/distributed_data_parallel.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "train/ddp/replica_check.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

// A tensor that several layers share is listed once, under its first name.
template <class Dict>
std::vector<NamedTensor> collect(const Dict& tensors, const std::vector<std::string>& ignored) {
  std::vector<NamedTensor> result;
  std::unordered_set<const c10::TensorImpl*> seen;
  for (const auto& item : tensors) {
    if (std::find(ignored.begin(), ignored.end(), item.key()) == ignored.end() &&
        seen.insert(item.value().unsafeGetTensorImpl()).second) {
      result.push_back({item.key(), item.value()});
    }
  }
  return result;
}

std::string refusal(const std::vector<NamedTensor>& parameters,
                    const std::vector<NamedTensor>& buffers) {
  const auto needs_gradient = [](const NamedTensor& p) { return p.tensor.requires_grad(); };
  if (std::none_of(parameters.begin(), parameters.end(), needs_gradient)) {
    return fmt::format(
        "none of the {} parameters requires grad: such a module needs no DistributedDataParallel",
        parameters.size());
  }
  for (const auto* list : {&parameters, &buffers}) {
    for (const auto& [name, tensor] : *list) {
      if (!tensor.is_cpu() || tensor.layout() != at::kStrided) {
        return fmt::format("expected dense tensors on the CPU, got '{}' with layout {} on {}", name,
                           c10::str(tensor.layout()), tensor.device().str());
      }
      try {
        (void)dtype_of(tensor.scalar_type());
      } catch (const c10::Error& error) {
        return fmt::format("'{}': {}", name, error.what_without_backtrace());
      }
    }
  }
  for (const auto& [name, tensor] : parameters) {
    if (tensor.requires_grad() && !tensor.is_leaf()) {
      return fmt::format("parameter '{}' is not a leaf: it is the result of an operation", name);
    }
  }
  return {};
}

std::string options_line(const DistributedDataParallelOptions& options) {
  return fmt::format(
      "options first_bucket_bytes={} bucket_cap_bytes={} find_unused_parameters={} static_graph={} "
      "gradient_as_bucket_view={} broadcast_buffers={}",
      options.first_bucket_bytes, options.bucket_cap_bytes, options.find_unused_parameters,
      options.static_graph, options.gradient_as_bucket_view, options.broadcast_buffers);
}

std::vector<at::Tensor> tensors_of(const std::vector<NamedTensor>& named) {
  std::vector<at::Tensor> tensors;
  for (const NamedTensor& item : named) {
    tensors.push_back(item.tensor);
  }
  return tensors;
}

}  // namespace

DistributedDataParallelBase::DistributedDataParallelBase(
    torch::nn::Module& module, std::shared_ptr<dist::ProcessGroup> group,
    const DistributedDataParallelOptions& options) {
  TORCH_CHECK_VALUE(group != nullptr, "DistributedDataParallel: expected a process group");
  std::vector<NamedTensor> parameters = collect(module.named_parameters(), options.ignored);
  const std::vector<NamedTensor> buffers = collect(module.named_buffers(), options.ignored);
  ReplicaDescription mine{refusal(parameters, buffers), {options_line(options)}};
  if (options.init_sync) {
    describe("params", parameters, mine.lines);
    describe("buffers", buffers, mine.lines);
    check_replicas(*group, mine);
    std::vector<at::Tensor> all = tensors_of(parameters);
    for (const NamedTensor& buffer : buffers) {
      all.push_back(buffer.tensor);
    }
    CoalescedBroadcast(group, std::move(all)).run();
  }
  buffers_may_differ_ = !options.init_sync;
  TORCH_CHECK(mine.refusal.empty(), "DistributedDataParallel: ", mine.refusal);
  if (options.broadcast_buffers && !buffers.empty()) {
    buffers_ = std::make_unique<CoalescedBroadcast>(group, tensors_of(buffers));
  }
  std::erase_if(parameters, [](const NamedTensor& p) { return !p.tensor.requires_grad(); });
  reducer_ = Reducer::create(std::move(group), std::move(parameters), options);
}

bool DistributedDataParallelBase::before_forward() {
  const bool reduced = sync_ && at::GradMode::is_enabled();
  if (reduced) {
    reducer_->before_forward();
  } else {
    reducer_->before_local_forward();
  }
  // A forward that is not reduced may change them without sending them; the next one does.
  if (sync_ && buffers_may_differ_ && buffers_ != nullptr) {
    buffers_->run();
    buffers_may_differ_ = false;
  }
  buffers_may_differ_ = buffers_may_differ_ || at::GradMode::is_enabled();
  return reduced;
}

}  // namespace gamelan::train
