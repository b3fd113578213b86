#pragma once

#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "dist/collective/process_group.h"
#include "train/ddp/coalesced_broadcast.h"
#include "train/ddp/named_tensor.h"
#include "train/ddp/reducer.h"
#include "train/ddp/visit_tensors.h"

namespace gamelan::train {

struct DistributedDataParallelOptions : ReducerOptions {
  /// Compare the module with rank 0's and take over rank 0's parameters and buffers.
  bool init_sync = true;
  /// Take over rank 0's buffers before each forward that follows one which may have changed them.
  bool broadcast_buffers = true;
  /// Full names of parameters and buffers that each rank keeps for itself.
  std::vector<std::string> ignored;
};

/// What DistributedDataParallel does that does not depend on the type of the module.
class DistributedDataParallelBase {
 public:
  /// While it lives, forwards (with the backwards that follow them) only add up gradients on their
  /// own rank.
  class NoSync {
   public:
    explicit NoSync(DistributedDataParallelBase& ddp)
        : ddp_(&ddp), before_(std::exchange(ddp.sync_, false)) {}
    ~NoSync() {
      if (ddp_ != nullptr) {
        ddp_->sync_ = before_;
      }
    }
    NoSync(NoSync&& other) noexcept
        : ddp_(std::exchange(other.ddp_, nullptr)), before_(other.before_) {}
    NoSync& operator=(NoSync&&) = delete;

   private:
    DistributedDataParallelBase* ddp_;
    bool before_;
  };

  DistributedDataParallelBase(const DistributedDataParallelBase&) = delete;
  DistributedDataParallelBase& operator=(const DistributedDataParallelBase&) = delete;

  /// `auto guard = ddp.no_sync();` for all but the last of several batches whose gradients add up:
  /// the last one's backward reduces the sum. The forward must be inside too.
  [[nodiscard]] NoSync no_sync() { return NoSync(*this); }

  /// The gradients' buckets, for reports and tests.
  const std::vector<BucketPlan>& bucket_plans() const { return reducer_->plans(); }
  Reducer& reducer() { return *reducer_; }

 protected:
  DistributedDataParallelBase(torch::nn::Module& module, std::shared_ptr<dist::ProcessGroup> group,
                              const DistributedDataParallelOptions& options);
  ~DistributedDataParallelBase() = default;

  /// Returns whether the backward of the coming forward is to be reduced.
  bool before_forward();
  void watch(const at::Tensor& output) { reducer_->watch(output); }

 private:
  bool sync_ = true;
  bool buffers_may_differ_ = false;
  std::shared_ptr<Reducer> reducer_;
  std::unique_ptr<CoalescedBroadcast> buffers_;  // null when there are none to send
};

/// Trains one replica of a module on every rank of a group, with gradients averaged over the ranks
/// during backward: torch.nn.parallel.DistributedDataParallel for LibTorch modules. M is a module
/// holder
/// (`torch::nn::Sequential`, whatever TORCH_MODULE defines) or a std::shared_ptr to a module with a
/// `forward`.
///
///   DistributedDataParallel ddp(model, group);
///   auto loss = torch::mse_loss(ddp.forward(input), target);
///   loss.backward();     // gradients are the averages now, equal on every rank
///   optimizer.step();    // of an optimizer over model->parameters()
///
/// The forward must be called through this class: C++ modules have no hooks. For one rank's own use
/// (evaluation on rank 0 alone) call the module itself, under torch::NoGradGuard. The output may be
/// anything that visit_tensors walks. A loss that is a mean over the rank's batch gives the
/// gradient of the mean over all ranks' samples when their batches are equally large.
///
/// Constructor: a collective. Throws c10::Error on every rank when any rank cannot take part or its
/// module or options differ from rank 0's, naming rank and parameter. The module's parameters must
/// not be replaced afterwards, and their grads are views of shared memory unless
/// gradient_as_bucket_view is off.
///
/// Not thread-safe; errors of forward and backward as in Reducer.
template <class M>
class DistributedDataParallel : public DistributedDataParallelBase {
 public:
  DistributedDataParallel(M module, std::shared_ptr<dist::ProcessGroup> group,
                          const DistributedDataParallelOptions& options = {})
      : DistributedDataParallelBase(*module, std::move(group), options),
        module_(std::move(module)) {}

  template <class... Args>
  decltype(auto) forward(Args&&... args) {
    const bool reduced = before_forward();
    if constexpr (std::is_void_v<decltype(module_->forward(std::forward<Args>(args)...))>) {
      module_->forward(std::forward<Args>(args)...);
    } else {
      auto output = module_->forward(std::forward<Args>(args)...);
      if (reduced) {
        visit_tensors(output, [this](const at::Tensor& tensor) { watch(tensor); });
      }
      return output;
    }
  }
  template <class... Args>
  decltype(auto) operator()(Args&&... args) {
    return forward(std::forward<Args>(args)...);
  }

  /// The wrapped module: what is saved, evaluated and given to the optimizer.
  M& module() { return module_; }
  M& operator->() { return module_; }

 private:
  M module_;
};

}  // namespace gamelan::train
