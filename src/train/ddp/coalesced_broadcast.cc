#include "train/ddp/coalesced_broadcast.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>

#include "train/ddp/registered_tensor.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

// A tensor of 1 MiB takes far longer to send than an operation takes to start: no use in copying it
// first.
constexpr std::int64_t kAloneBytes = 1 << 20;
constexpr std::int64_t kBatchBytes = 4 << 20;

std::int64_t size_bytes(const at::Tensor& tensor) {
  return tensor.numel() * static_cast<std::int64_t>(tensor.element_size());
}

}  // namespace

CoalescedBroadcast::CoalescedBroadcast(std::shared_ptr<dist::ProcessGroup> group,
                                       std::vector<at::Tensor> tensors)
    : group_(std::move(group)) {
  std::map<at::ScalarType, Batch> open;
  std::map<at::ScalarType, std::int64_t> bytes;
  for (at::Tensor& tensor : tensors) {
    if (size_bytes(tensor) >= kAloneBytes) {
      batches_.push_back({{std::move(tensor)}, {}});
      continue;
    }
    const at::ScalarType type = tensor.scalar_type();
    bytes[type] += size_bytes(tensor);
    open[type].tensors.push_back(std::move(tensor));
    if (bytes[type] >= kBatchBytes) {
      batches_.push_back(std::exchange(open[type], {}));
      bytes[type] = 0;
    }
  }
  for (auto& [type, batch] : open) {
    if (!batch.tensors.empty()) {
      batches_.push_back(std::move(batch));
    }
  }
  for (Batch& batch : batches_) {
    if (batch.tensors.size() > 1 || size_bytes(batch.tensors[0]) < kAloneBytes) {
      std::int64_t count = 0;
      for (const at::Tensor& tensor : batch.tensors) {
        count += tensor.numel();
      }
      batch.staging = registered_tensor(group_, static_cast<std::size_t>(count),
                                        batch.tensors[0].scalar_type());
    }
  }
}

void CoalescedBroadcast::run() {
  const at::NoGradGuard no_grad;
  for (const Batch& batch : batches_) {
    if (batch.staging.defined()) {
      send(batch);
    } else {
      send_alone(batch.tensors[0]);
    }
  }
}

void CoalescedBroadcast::send(const Batch& batch) {
  const auto for_each_slot = [&batch](auto&& copy) {
    std::int64_t offset = 0;
    for (const at::Tensor& tensor : batch.tensors) {
      copy(tensor.variable_data(),
           batch.staging.narrow(0, offset, tensor.numel()).view(tensor.sizes()));
      offset += tensor.numel();
    }
  };
  if (group_->rank() == 0) {
    for_each_slot([](const at::Tensor& tensor, const at::Tensor& slot) { slot.copy_(tensor); });
  }
  broadcast(batch.staging);
  if (group_->rank() != 0) {
    for_each_slot([](const at::Tensor& tensor, const at::Tensor& slot) { tensor.copy_(slot); });
  }
}

void CoalescedBroadcast::send_alone(const at::Tensor& tensor) {
  const at::Tensor data = tensor.variable_data();
  const at::Tensor row_major = data.contiguous();
  broadcast(row_major);
  if (!row_major.is_same(data) && group_->rank() != 0) {
    data.copy_(row_major);
  }
}

void CoalescedBroadcast::broadcast(const at::Tensor& dense) {
  throw_if_error(group_->broadcast(view_of(dense)).wait());
}

}  // namespace gamelan::train
