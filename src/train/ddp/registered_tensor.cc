#include "train/ddp/registered_tensor.h"

#include <ATen/ATen.h>

#include "train/torch_view.h"

namespace gamelan::train {
namespace {

// Members are destroyed from the last to the first: the memory before its group.
struct Owner {
  std::shared_ptr<dist::ProcessGroup> group;
  dist::RegisteredMemory memory;
};

}  // namespace

at::Tensor registered_tensor(const std::shared_ptr<dist::ProcessGroup>& group, std::size_t count,
                             at::ScalarType type) {
  const auto size = static_cast<std::int64_t>(count);
  if (count == 0) {
    return at::zeros({0}, type);
  }
  auto owner = std::make_shared<Owner>(
      Owner{group, value_or_throw(group->allocate(count * c10::elementSize(type)))});
  void* data = owner->memory.data();
  return at::from_blob(
      data, {size}, [owner = std::move(owner)](void*) mutable { owner.reset(); },
      at::TensorOptions(type));
}

}  // namespace gamelan::train
