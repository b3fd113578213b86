#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dist/collective/process_group.h"
#include "train/ddp/backward_scope.h"
#include "train/ddp/gradient_buckets.h"
#include "train/ddp/named_tensor.h"
#include "train/ddp/pass_report.h"
#include "train/torch_compat.h"

namespace gamelan::train {

struct ReducerOptions {
  /// The first bucket of each dtype is closed at this size, so that communication begins early.
  std::size_t first_bucket_bytes = 1U << 20;
  std::size_t bucket_cap_bytes = 25U << 20;
  /// Parameters that a backward pass does not reach count as ready from its start.
  bool find_unused_parameters = false;
  /// Every iteration runs the same graph: gradients may come several times in a pass (checkpointed
  /// layers) or never. The first pass learns how often, later ones must agree with it.
  bool static_graph = false;
  /// Gradients are views of the buckets instead of being copied out of them.
  bool gradient_as_bucket_view = true;
};

/// Averages gradients over the ranks while the backward pass that produces them is still running.
/// docs/algorithms.md explains the protocol.
///
/// Each gradient is multiplied by 1/N on its way into its bucket; complete buckets are summed in
/// the background in a fixed order; at the end of the pass the reducer waits and hands the averages
/// back to the pass's GradSlot. A parameter that no rank has used keeps its gradient as it was,
/// undefined or not.
///
/// One thread at a time: the one that runs forward and backward. Errors are thrown as c10::Error
/// from before_forward and out of backward(). One that says that a pass could not be reduced is
/// thrown by that pass on every rank; the gradients are then unspecified and must be zeroed, and
/// the next forward starts clean. After an error of the group (a dead peer, a timeout) every call
/// fails.
class Reducer : public std::enable_shared_from_this<Reducer> {
 public:
  /// A parameter must be a leaf that requires grad, on the CPU. The same on every rank, with the
  /// same options.
  static std::shared_ptr<Reducer> create(std::shared_ptr<dist::ProcessGroup> group,
                                         std::vector<NamedTensor> parameters,
                                         const ReducerOptions& options);
  /// Waits for what an abandoned pass left; gradients are copied out of the buckets.
  ~Reducer();
  Reducer(const Reducer&) = delete;
  Reducer& operator=(const Reducer&) = delete;

  /// Before each forward whose backward is to be reduced. A collective when the previous pass was
  /// abandoned, and once after the first complete pass, when the buckets are rebuilt in rank 0's
  /// order of readiness.
  void before_forward();
  /// Before a forward whose gradients only add up locally.
  void before_local_forward();
  /// The outputs of a forward to be reduced: a pass that runs through one belongs to the reducer.
  void watch(const at::Tensor& output);

  /// Begins a pass that somebody else than LibTorch's engine runs; it must then call
  /// gradient_ready. Nothing happens when a pass is under way.
  void begin(std::unique_ptr<BackwardScope> scope);
  /// The gradient of `parameter` is in the slot. Called by a hook on its accumulator.
  void gradient_ready(std::size_t parameter);

  /// The buckets now in use.
  const std::vector<BucketPlan>& plans() const { return buckets_->plans(); }

 private:
  enum class Phase : std::uint8_t { kIdle, kReducing, kAbandoned };

  Reducer(std::shared_ptr<dist::ProcessGroup> group, std::vector<NamedTensor> parameters,
          const ReducerOptions& options);
  void install_hooks();
  std::vector<BucketPlan> plan(const std::vector<std::size_t>& order) const;

  // One pass.
  bool learns() const { return options_.static_graph && expected_.empty(); }
  bool will_not_fire(std::size_t parameter) const;
  void check_gradient(std::size_t parameter, const at::Tensor& gradient);
  bool counts_as_ready(std::size_t parameter);
  void arrive(std::size_t parameter);
  void arrive_without_gradient(std::size_t parameter);
  void deposit(std::size_t parameter, const at::Tensor& gradient);
  void finish();
  void deliver(const PassTrailer& trailer);
  void abandon();
  void settle();
  PassReport report(PassStatus status) const;
  void adopt_forward_number(const std::vector<PassReport>& reports);
  [[noreturn]] void fail(const std::string& message);

  void rebuild();
  void move_gradients(const GradientBuckets& from, const GradientBuckets& to);

  std::shared_ptr<dist::ProcessGroup> group_;
  std::vector<NamedTensor> parameters_;
  ReducerOptions options_;
  double scale_;              // 1 / world size
  at::Tensor scale_operand_;  // the same, as a number that takes any tensor's type
  std::vector<GraphNodePtr> accumulators_;
  std::vector<std::uintptr_t> hooks_;
  std::unique_ptr<GradientBuckets> buckets_;
  bool rebuild_due_ = false;
  /// In which the first complete pass got its gradients.
  std::optional<std::vector<std::size_t>> first_order_;

  Phase phase_ = Phase::kIdle;
  /// A forward to be reduced has run and no pass has followed it.
  bool armed_ = false;
  std::int64_t forwards_ = 0;
  /// Parameters that got a gradient since the last reduction, local passes included.
  std::vector<std::uint8_t> used_;
  /// How often a gradient comes in a pass; learnt by the first one of a static graph.
  std::vector<std::uint32_t> expected_;

  // The pass under way.
  std::unique_ptr<BackwardScope> scope_;
  std::vector<std::uint8_t> ready_;
  std::vector<std::uint32_t> fired_;
  std::vector<std::size_t> order_;
  std::vector<at::Tensor> kept_;  // gradients that no rank may touch, should no rank have used them
  std::string failure_;
  std::optional<PassReportExchange> farewell_;  // of an abandoned pass
};

}  // namespace gamelan::train
