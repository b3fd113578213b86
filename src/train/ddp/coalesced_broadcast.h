#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "dist/collective/process_group.h"

namespace gamelan::train {

/// Sends rank 0's values of a fixed list of tensors to every rank, small tensors together. The
/// list, the shapes and the types must be the same on every rank; the memory layouts need not.
///
/// Values are replaced under autograd's feet: version counters stay, so that a graph which has
/// saved such a tensor can still be run (running statistics are replaced between two forwards of
/// one backward).
class CoalescedBroadcast {
 public:
  CoalescedBroadcast(std::shared_ptr<dist::ProcessGroup> group, std::vector<at::Tensor> tensors);

  /// A collective. Throws c10::Error with the group's error.
  void run();

 private:
  // Tensors of one type that travel together through `staging` [their elements]; a large tensor is
  // alone and has none.
  struct Batch {
    std::vector<at::Tensor> tensors;
    at::Tensor staging;
  };

  void send(const Batch& batch);
  void send_alone(const at::Tensor& tensor);
  void broadcast(const at::Tensor& dense);

  std::shared_ptr<dist::ProcessGroup> group_;
  std::vector<Batch> batches_;
};

}  // namespace gamelan::train
