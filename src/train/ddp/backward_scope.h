#pragma once

#include <functional>
#include <memory>

#include "train/ddp/grad_slot.h"
#include "train/torch_compat.h"

namespace gamelan::train {

/// One backward pass as the reducer sees it. LibTorch's engine is one implementation, an executor
/// of distributed autograd can be another. Used from the thread of the pass.
class BackwardScope {
 public:
  virtual ~BackwardScope() = default;

  /// Whether the pass will run `accumulator`, and so produce a gradient for its parameter.
  virtual bool reaches(const GraphNode* accumulator) const = 0;
  virtual GradSlot& slot() = 0;
  /// Arranges that exactly one of the two is called: `finish` after the last node of the pass (what
  /// it throws reaches the caller of backward), `abandon` when the pass ends with an exception; it
  /// must not throw.
  virtual void at_end(std::function<void()> finish, std::function<void()> abandon) = 0;
};

/// The pass of LibTorch's engine that the calling hook is part of.
class EngineBackwardScope : public BackwardScope {
 public:
  bool reaches(const GraphNode* accumulator) const override;
  GradSlot& slot() override { return slot_; }
  void at_end(std::function<void()> finish, std::function<void()> abandon) override;

 private:
  ParameterGradSlot slot_;
};

}  // namespace gamelan::train
