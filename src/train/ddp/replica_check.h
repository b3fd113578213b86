#pragma once

#include <string>
#include <vector>

#include "dist/collective/process_group.h"
#include "train/ddp/named_tensor.h"

namespace gamelan::train {

/// What must be the same on every rank before its gradients can be averaged.
struct ReplicaDescription {
  /// Why this rank cannot take part; empty when it can.
  std::string refusal;
  /// One line each: what it is, its name, type and shape; options.
  std::vector<std::string> lines;
};

/// The lines of `tensors`: "params[0] 'fc.weight' f32[3, 4]", with strides where they are not
/// row-major.
void describe(const std::string& kind, const std::vector<NamedTensor>& tensors,
              std::vector<std::string>& lines);

/// Compares every rank's description with rank 0's. A collective: costs one small all_gather when
/// all agree. Throws the same c10::Error on every rank, naming the ranks that differ and their
/// first difference.
void check_replicas(dist::ProcessGroup& group, const ReplicaDescription& mine);

}  // namespace gamelan::train
