#include "train/ddp/reducer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/log.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

bool is_view(const at::Tensor& gradient, const at::Tensor& view) {
  return gradient.defined() && gradient.layout() == at::kStrided &&
         gradient.data_ptr() == view.data_ptr() && gradient.sizes() == view.sizes() &&
         gradient.strides() == view.strides();
}

std::vector<GradientSize> sizes_of(const std::vector<NamedTensor>& parameters) {
  std::vector<GradientSize> sizes;
  for (const NamedTensor& parameter : parameters) {
    sizes.push_back({static_cast<std::size_t>(parameter.tensor.numel()),
                     dtype_of(parameter.tensor.scalar_type())});
  }
  return sizes;
}

}  // namespace

std::shared_ptr<Reducer> Reducer::create(std::shared_ptr<dist::ProcessGroup> group,
                                         std::vector<NamedTensor> parameters,
                                         const ReducerOptions& options) {
  std::shared_ptr<Reducer> reducer(new Reducer(std::move(group), std::move(parameters), options));
  reducer->install_hooks();
  return reducer;
}

Reducer::Reducer(std::shared_ptr<dist::ProcessGroup> group, std::vector<NamedTensor> parameters,
                 const ReducerOptions& options)
    : group_(std::move(group)),
      parameters_(std::move(parameters)),
      options_(options),
      scale_(1.0 / group_->size()),
      scale_operand_(at::scalar_tensor(scale_, at::kDouble)),
      rebuild_due_(!options.find_unused_parameters || options.static_graph),
      used_(parameters_.size(), 0) {
  scale_operand_.unsafeGetTensorImpl()->set_wrapped_number(true);
  // Gradients come roughly in the reverse order of the layers.
  std::vector<std::size_t> order(parameters_.size());
  std::iota(order.rbegin(), order.rend(), std::size_t{0});
  buckets_ = std::make_unique<GradientBuckets>(group_, parameters_, plan(order),
                                               PassTrailer::count(parameters_.size()));
}

Reducer::~Reducer() {
  settle();
  for (std::size_t i = 0; i < accumulators_.size(); ++i) {
    remove_post_hook(*accumulators_[i], hooks_[i]);
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& gradient = parameters_[i].tensor.mutable_grad();
    if (is_view(gradient, buckets_->view(i))) {
      gradient = gradient.clone();
    }
  }
}

// The hooks do not keep the reducer alive: they go with it.
void Reducer::install_hooks() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    accumulators_.push_back(gradient_accumulator(parameters_[i].tensor));
    hooks_.push_back(add_post_hook(*accumulators_[i], [this, i] { gradient_ready(i); }));
  }
}

std::vector<BucketPlan> Reducer::plan(const std::vector<std::size_t>& order) const {
  return plan_buckets(sizes_of(parameters_), order, options_.first_bucket_bytes,
                      options_.bucket_cap_bytes);
}

void Reducer::before_forward() {
  TORCH_CHECK(phase_ != Phase::kReducing,
              "DistributedDataParallel: forward inside a backward of the same module; checkpoint "
              "layers inside the module, not the module");
  settle();
  ++forwards_;
  armed_ = true;
  if (rebuild_due_ && first_order_.has_value()) {
    rebuild();
  }
}

void Reducer::before_local_forward() {
  settle();
  armed_ = false;
}

void Reducer::watch(const at::Tensor& output) {
  if (!output.defined() || !output.requires_grad() || !output.grad_fn()) {
    return;
  }
  // The graph may outlive the reducer.
  add_pre_hook(*output.grad_fn(), [weak = weak_from_this()] {
    const auto reducer = weak.lock();
    if (reducer && reducer->phase_ != Phase::kReducing && !backward_is_partial()) {
      reducer->begin(std::make_unique<EngineBackwardScope>());
    }
  });
}

void Reducer::begin(std::unique_ptr<BackwardScope> scope) {
  if (phase_ == Phase::kReducing) {
    return;
  }
  settle();
  scope_ = std::move(scope);
  buckets_->reset();
  ready_.assign(parameters_.size(), 0);
  fired_.assign(parameters_.size(), 0);
  kept_.assign(parameters_.size(), {});
  order_.clear();
  failure_.clear();
  // The pass keeps the reducer alive until it has ended.
  scope_->at_end([self = shared_from_this()] { self->finish(); },
                 [self = shared_from_this()] { self->abandon(); });
  phase_ = Phase::kReducing;
  if (learns()) {
    return;
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (will_not_fire(i)) {
      arrive_without_gradient(i);
    }
  }
}

bool Reducer::will_not_fire(std::size_t parameter) const {
  if (options_.static_graph) {
    return expected_[parameter] == 0;
  }
  // One that was frozen after construction counts like one that nobody uses.
  return !parameters_[parameter].tensor.requires_grad() ||
         (options_.find_unused_parameters && !scope_->reaches(&*accumulators_[parameter]));
}

void Reducer::gradient_ready(std::size_t parameter) {
  if (phase_ != Phase::kReducing) {
    if (!armed_) {
      // A local pass. What it adds is reduced by a later one.
      used_[parameter] |= parameters_[parameter].tensor.grad().defined() ? 1 : 0;
      return;
    }
    begin(std::make_unique<EngineBackwardScope>());
  }
  const at::NoGradGuard no_grad;
  const at::Tensor gradient = scope_->slot().get(parameters_[parameter].tensor);
  check_gradient(parameter, gradient);
  used_[parameter] |= gradient.defined() ? 1 : 0;
  if (fired_[parameter]++ == 0) {
    order_.push_back(parameter);
  }
  if (counts_as_ready(parameter)) {
    arrive(parameter);
  }
}

void Reducer::check_gradient(std::size_t parameter, const at::Tensor& gradient) {
  if (!gradient.defined()) {
    return;
  }
  if (gradient.layout() != at::kStrided) {
    fail(fmt::format(
        "parameter '{}' has a sparse gradient, only dense ones are reduced; build its layer with "
        "sparse(false)",
        parameters_[parameter].name));
  }
  if (gradient.requires_grad()) {
    fail(
        fmt::format("the gradient of parameter '{}' has a graph of its own (backward with "
                    "create_graph), and the "
                    "average over the ranks cannot be differentiated; take inner derivatives with "
                    "autograd::grad",
                    parameters_[parameter].name));
  }
}

// Whether the gradient that has just come is the last one of this pass for its parameter.
bool Reducer::counts_as_ready(std::size_t parameter) {
  if (learns()) {
    return false;
  }
  const std::string& name = parameters_[parameter].name;
  if (options_.static_graph) {
    if (fired_[parameter] > expected_[parameter]) {
      fail(fmt::format(
          "the graph is not static: parameter '{}' got {} gradients in this pass, {} in "
          "the first one",
          name, fired_[parameter], expected_[parameter]));
    }
    return fired_[parameter] == expected_[parameter];
  }
  if (ready_[parameter] != 0) {
    fail(fired_[parameter] > 1
             ? fmt::format("parameter '{}' was marked ready twice in one pass: its gradient came "
                           "again after it "
                           "had been taken, as happens with checkpointed layers that are used more "
                           "than once; "
                           "set static_graph if every iteration runs the same graph",
                           name)
             : fmt::format("parameter '{}' was not in the graph when the pass began and got a "
                           "gradient all the "
                           "same, as happens inside checkpointed layers; set static_graph if every "
                           "iteration "
                           "runs the same graph, or leave find_unused_parameters off",
                           name));
  }
  return true;
}

void Reducer::arrive(std::size_t parameter) {
  ready_[parameter] = 1;
  deposit(parameter, scope_->slot().get(parameters_[parameter].tensor));
  buckets_->arrived(parameter);
}

// The bucket gets what the gradient is anyway: other ranks may have used the parameter, and this
// one in a local pass before. Should none have, the gradient must come out as it went in.
void Reducer::arrive_without_gradient(std::size_t parameter) {
  const at::NoGradGuard no_grad;
  const at::Tensor gradient = scope_->slot().get(parameters_[parameter].tensor);
  if (gradient.defined()) {
    check_gradient(parameter, gradient);
    kept_[parameter] = is_view(gradient, buckets_->view(parameter)) ? gradient.clone() : gradient;
  }
  arrive(parameter);
}

void Reducer::deposit(std::size_t parameter, const at::Tensor& gradient) {
  at::Tensor view = buckets_->view(parameter);
  if (!gradient.defined()) {
    view.zero_();
  } else if (is_view(gradient, view)) {
    view.mul_(scale_);
  } else {
    at::mul_out(view, gradient, scale_operand_);
    if (options_.gradient_as_bucket_view) {
      scope_->slot().set(parameters_[parameter].tensor, view);
    }
  }
}

void Reducer::finish() {
  const at::NoGradGuard no_grad;
  if (learns()) {
    try {
      for (std::size_t i = 0; i < parameters_.size(); ++i) {
        fired_[i] == 0 ? arrive_without_gradient(i) : arrive(i);
      }
    } catch (...) {
      abandon();
      throw;
    }
  }
  const bool complete = std::find(ready_.begin(), ready_.end(), 0) == ready_.end();
  const PassStatus status = complete ? PassStatus::kComplete : PassStatus::kMissing;
  PassTrailer::write(buckets_->trailer(), status, forwards_, used_);
  buckets_->launch_rest();
  phase_ = Phase::kIdle;
  armed_ = false;
  throw_if_error(buckets_->wait());

  const PassTrailer trailer(buckets_->trailer());
  if (!trailer.all_complete()) {
    PassReportExchange exchange(*group_, report(status));
    const std::vector<PassReport> reports = exchange.wait();
    adopt_forward_number(reports);
    std::fill(used_.begin(), used_.end(), 0);
    TORCH_CHECK(false, explain(reports, parameters_, options_.find_unused_parameters));
  }
  deliver(trailer);
  std::fill(used_.begin(), used_.end(), 0);
  if (learns()) {
    expected_ = fired_;
  }
  if (rebuild_due_ && !first_order_.has_value()) {
    first_order_ = order_;
  }
  scope_.reset();
}

void Reducer::deliver(const PassTrailer& trailer) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& parameter = parameters_[i].tensor;
    at::Tensor view = buckets_->view(i);
    at::Tensor gradient = scope_->slot().get(parameter);
    if (!trailer.used_anywhere(i)) {
      if (kept_[i].defined() && is_view(gradient, view)) {
        // It was in the bucket before, or deposit() has put it there.
        view.copy_(kept_[i]);
      }
    } else if (options_.gradient_as_bucket_view) {
      if (!is_view(gradient, view)) {
        scope_->slot().set(parameter, view);
      }
    } else if (gradient.defined()) {
      gradient.copy_(view);
    } else {
      scope_->slot().set(parameter, view.clone());
    }
  }
}

// Runs while the exception of the pass is on its way through the engine. The other ranks are in the
// same pass, or will be: they get every operation that they wait for, and from the last one that
// this rank gave up. Nothing here waits.
void Reducer::abandon() {
  phase_ = Phase::kAbandoned;
  armed_ = false;
  try {
    const at::NoGradGuard no_grad;
    if (failure_.empty()) {
      failure_ = "its backward ended with an exception";
    }
    PassTrailer::write(buckets_->trailer(), PassStatus::kAbandoned, forwards_, used_);
    buckets_->launch_rest();
    farewell_.emplace(*group_, report(PassStatus::kAbandoned));
  } catch (const std::exception& error) {
    base::log().warn(
        "DistributedDataParallel: cannot tell the other ranks that a backward failed: {}",
        error.what());
  }
}

// Ends an abandoned pass. Its results do not matter; an error of the group will come again.
void Reducer::settle() {
  if (phase_ != Phase::kAbandoned) {
    return;
  }
  phase_ = Phase::kIdle;
  (void)buckets_->wait();
  try {
    if (farewell_.has_value()) {
      adopt_forward_number(farewell_->wait());
    }
  } catch (const c10::Error& error) {
    base::log().debug("DistributedDataParallel: {}", error.what_without_backtrace());
  }
  farewell_.reset();
  scope_.reset();
  std::fill(used_.begin(), used_.end(), 0);
}

PassReport Reducer::report(PassStatus status) const {
  PassReport report{status, forwards_, failure_, std::vector<std::uint8_t>(parameters_.size(), 0)};
  if (status == PassStatus::kMissing) {
    std::transform(ready_.begin(), ready_.end(), report.missing.begin(),
                   [](std::uint8_t ready) -> std::uint8_t { return ready == 0 ? 1 : 0; });
  }
  return report;
}

void Reducer::adopt_forward_number(const std::vector<PassReport>& reports) {
  for (const PassReport& report : reports) {
    forwards_ = std::max(forwards_, report.forward);
  }
}

void Reducer::fail(const std::string& message) {
  failure_ = message;
  TORCH_CHECK(false, "DistributedDataParallel: ", message);
}

void Reducer::rebuild() {
  rebuild_due_ = false;
  std::vector<std::int64_t> order(first_order_->begin(), first_order_->end());
  // Parameters of a static graph that never get a gradient come last.
  std::vector<std::uint8_t> listed(parameters_.size(), 0);
  for (const std::size_t parameter : *first_order_) {
    listed[parameter] = 1;
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (listed[i] == 0) {
      order.push_back(static_cast<std::int64_t>(i));
    }
  }
  throw_if_error(
      base::annotate(group_->broadcast(tensor::view_of(order.data(), order.size())).wait(),
                     "DistributedDataParallel: agree on the buckets"));
  std::vector<BucketPlan> plans = plan({order.begin(), order.end()});
  if (plans == buckets_->plans()) {
    return;
  }
  auto rebuilt = std::make_unique<GradientBuckets>(group_, parameters_, std::move(plans),
                                                   PassTrailer::count(parameters_.size()));
  move_gradients(*buckets_, *rebuilt);
  buckets_ = std::move(rebuilt);
}

void Reducer::move_gradients(const GradientBuckets& from, const GradientBuckets& to) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& gradient = parameters_[i].tensor.mutable_grad();
    if (is_view(gradient, from.view(i))) {
      at::Tensor view = to.view(i);
      view.copy_(gradient);
      gradient = view;
    }
  }
}

}  // namespace gamelan::train
