#include "train/trainer/trainer.h"

#include <ATen/ATen.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "dist/collective/process_group.h"
#include "train/autocast.h"
#include "train/checkpoint/exchange.h"
#include "train/checkpoint/snapshot.h"
#include "train/optim/clip_grad.h"
#include "train/optim/lr_schedule.h"
#include "train/optim/make_optimizer.h"
#include "train/trainer/epoch_order.h"
#include "train/trainer/job_output.h"
#include "train/trainer/report.h"
#include "train/trainer/setup.h"

namespace gamelan::train {
namespace {

using nlohmann::json;

/// JSON has no NaN: nlohmann writes null for it.
double number_or_nan(const json& object, const char* name) {
  const json value = object.value(name, json());
  return value.is_number() ? value.get<double>() : std::nan("");
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// Puts the random numbers back where they were.
class RngScope {
 public:
  RngScope() : state_(rng_state()) {}
  ~RngScope() { set_rng_state(state_); }
  RngScope(const RngScope&) = delete;
  RngScope& operator=(const RngScope&) = delete;

 private:
  const at::Tensor state_;
};

}  // namespace

class Trainer::Impl {
 public:
  Impl(TrainingArguments arguments, Task& task, dist::ProcessGroup* group);
  TrainResult run();
  void abort(const std::string& reason);

 private:
  void prepare(const JobOutput::Opened& opened);
  void make_order();
  JobSizes make_optimizer_of_model();
  void seed_rank(std::int64_t step);
  void check_training_set(const Snapshot& snapshot) const;
  void resume(const Snapshot& snapshot);
  void warn_of_changes(const Snapshot& snapshot) const;

  /// Plans the rest of the epoch under way.
  EpochPlan begin_epoch();
  void train_epoch();
  void end_epoch();
  double train_step(std::int64_t first, std::int64_t count);
  void log_step(double loss, double norm, double learning_rate);
  void evaluate();
  void save();
  void finish();

  bool job_ends(bool epoch_ends) const {
    return at_last_step() || (epoch_ends && progress_.epoch + 1 >= epochs());
  }

  bool at_last_step() const {
    return arguments_.max_steps > 0 && progress_.step >= arguments_.max_steps;
  }
  std::int64_t epochs() const {
    return arguments_.max_steps > 0 ? ceil_div(arguments_.max_steps, steps_per_epoch())
                                    : arguments_.num_train_epochs;
  }
  std::int64_t steps_per_epoch() const {
    return std::max<std::int64_t>(
        1, ceil_div(order_->batches_per_epoch(), arguments_.gradient_accumulation_steps));
  }

  const TrainingArguments arguments_;
  Task& task_;
  dist::ProcessGroup* const group_;
  const int rank_;
  const int world_size_;
  Report report_;
  JobOutput output_;

  std::optional<EpochOrder> order_;
  std::vector<at::Tensor> parameters_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::optional<LrSchedule> schedule_;
  json evaluations_ = json::object();

  std::int64_t samples_ = 0;
  Progress progress_;
  std::int64_t total_steps_ = 0;
  std::int64_t saved_step_ = -1;
  EpochPlan plan_;
  // Of the epoch under way, on this rank: sum of the micro-batches' losses and their number.
  double loss_sum_ = 0;
  std::int64_t loss_count_ = 0;
  // The same since the last log line, over steps.
  double logged_sum_ = 0;
  std::int64_t logged_count_ = 0;

  base::TimePoint began_ = base::Clock::now();
  TrainResult result_;
};

Trainer::Impl::Impl(TrainingArguments arguments, Task& task, dist::ProcessGroup* group)
    : arguments_(std::move(arguments)),
      task_(task),
      group_(group),
      rank_(rank_of(group)),
      world_size_(size_of(group)),
      report_(arguments_, rank_ == 0),
      output_(arguments_, group) {
  check_arguments(arguments_);
}

TrainResult Trainer::Impl::run() {
  JobOutput::Opened opened = output_.open();
  if (opened.finished) {
    report_.already_finished(arguments_.output_dir);
    result_.already_finished = true;
    return result_;
  }
  prepare(opened);
  opened.snapshot.reset();  // frees its tensors
  while (progress_.epoch < epochs()) {
    train_epoch();
    if (result_.stopped) {
      report_.stopped(progress_.step);
      break;
    }
    end_epoch();
    if (at_last_step()) {
      break;
    }
  }
  result_.steps = progress_.step;
  result_.failed_saves = output_.failed_saves();
  if (!result_.stopped) {
    finish();
  }
  return result_;
}

void Trainer::Impl::prepare(const JobOutput::Opened& opened) {
  make_order();
  JobSizes sizes = make_optimizer_of_model();
  evaluations_ = opened.evaluations;
  seed_rank(0);
  if (opened.snapshot) {
    progress_ = opened.snapshot->progress;
    check_training_set(*opened.snapshot);
  }
  // Counted anew from where the job stands: another number of processes has epochs of another
  // length.
  order_->begin(progress_.epoch, progress_.samples);
  const std::int64_t left =
      ceil_div(order_->batches(), arguments_.gradient_accumulation_steps) +
      steps_per_epoch() * std::max<std::int64_t>(0, epochs() - progress_.epoch - 1);
  total_steps_ = arguments_.max_steps > 0 ? arguments_.max_steps : progress_.step + left;
  schedule_.emplace(*optimizer_, schedule_options(arguments_, total_steps_));

  sizes.world_size = world_size_;
  sizes.backend = group_ == nullptr ? "" : group_->backend_name();
  sizes.samples = samples_;
  sizes.steps_per_epoch = steps_per_epoch();
  sizes.total_steps = total_steps_;
  sizes.epochs = epochs();
  report_.sizes(sizes);
  if (opened.snapshot) {
    resume(*opened.snapshot);
    const bool epoch_done = order_->batches() == 0;
    report_.resuming(progress_.epoch + (epoch_done ? 1 : 0), opened.path, progress_.step,
                     total_steps_);
  }
}

void Trainer::Impl::make_order() {
  TrainingSet set = task_.training_set();
  samples_ = set.size;
  EpochOrder::Options order;
  order.size = set.size;
  if (arguments_.group_by_length) {
    TORCH_CHECK_VALUE(!set.lengths.empty(),
                      "group_by_length: expected the lengths of the training samples, got none");
    order.lengths = std::move(set.lengths);
  }
  order.rank = rank_;
  order.world_size = world_size_;
  order.batch_size = arguments_.per_device_train_batch_size;
  order.seed = arguments_.seed;
  order.shuffle = arguments_.shuffle;
  order.drop_last = arguments_.dataloader_drop_last;
  order_.emplace(std::move(order));
  TORCH_CHECK_VALUE(order_->batches_per_epoch() > 0, "expected at least one micro-batch of ",
                    arguments_.per_device_train_batch_size, " samples on each of ", world_size_,
                    " processes, got a training set of ", set.size);
}

/// The optimizer over all trainable parameters, and how many there are.
JobSizes Trainer::Impl::make_optimizer_of_model() {
  const DecayGroups groups = decay_groups(task_.model());
  optimizer_ = make_optimizer(optimizer_options(arguments_), groups);
  JobSizes sizes;
  for (const auto* part : {&groups.decay, &groups.no_decay}) {
    for (const at::Tensor& parameter : *part) {
      parameters_.push_back(parameter);
      sizes.trainable_parameters += parameter.numel();
    }
  }
  return sizes;
}

/// A rank's random numbers at the beginning (`step` 0), or from a step on at which they had to
/// begin anew.
void Trainer::Impl::seed_rank(std::int64_t step) {
  constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15u;  // spreads the steps over all seeds
  at::manual_seed(arguments_.seed + static_cast<std::uint64_t>(rank_) +
                  static_cast<std::uint64_t>(step) * kGoldenRatio);
}

void Trainer::Impl::check_training_set(const Snapshot& snapshot) const {
  const json size =
      snapshot.extra.is_object() ? snapshot.extra.value("training_set_size", json()) : json();
  TORCH_CHECK_VALUE(!size.is_number_integer() || size.get<std::int64_t>() == samples_,
                    "the snapshot is of another training set: expected ", size.dump(),
                    " samples, got ", samples_);
}

void Trainer::Impl::resume(const Snapshot& snapshot) {
  load_model_state(task_.model(), snapshot.model);
  load_optimizer_state(*optimizer_, snapshot.optimizer);
  schedule_->load_state(snapshot.scheduler);
  warn_of_changes(snapshot);
  result_.resumed_step = progress_.step;
  saved_step_ = progress_.step;
  for (std::int64_t epoch = 0; epoch < progress_.epoch; ++epoch) {
    result_.epoch_metrics.push_back(
        evaluations_.value(std::to_string(epoch), json::object()).value("metrics", json::object()));
  }

  const auto rank = static_cast<std::size_t>(rank_);
  if (snapshot.ranks.size() == static_cast<std::size_t>(world_size_)) {
    set_rng_state(snapshot.ranks[rank].rng);
    loss_sum_ = number_or_nan(snapshot.ranks[rank].extra, "loss_sum");
    loss_count_ = snapshot.ranks[rank].extra.value("loss_count", std::int64_t{0});
    return;
  }
  // Another number of ranks: their random numbers begin anew, from what every attempt to continue
  // from here would compute; sums over ranks stay right when one rank carries them all.
  seed_rank(progress_.step);
  for (const RankState& state : snapshot.ranks) {
    if (rank_ == 0) {
      loss_sum_ += number_or_nan(state.extra, "loss_sum");
      loss_count_ += state.extra.value("loss_count", std::int64_t{0});
    }
  }
  if (rank_ == 0) {
    base::log().warn(
        "the snapshot is of {} processes, this job has {}: what is left of the epoch is dealt anew",
        snapshot.ranks.size(), world_size_);
  }
}

void Trainer::Impl::warn_of_changes(const Snapshot& snapshot) const {
  const json before = snapshot.extra.is_object() ? snapshot.extra.value("arguments", json::object())
                                                 : json::object();
  const json now = remembered(arguments_);
  for (const auto& [name, value] : now.items()) {
    if (rank_ == 0 && before.is_object() && before.contains(name) && before[name] != value) {
      base::log().warn("{} was {} when the snapshot was written, is {} now", name,
                       before[name].dump(), value.dump());
    }
  }
}

EpochPlan Trainer::Impl::begin_epoch() {
  const std::int64_t accumulation = arguments_.gradient_accumulation_steps;
  order_->begin(progress_.epoch, progress_.samples);
  EpochPlan plan;
  plan.epoch = progress_.epoch;
  plan.micro_batches = progress_.position + order_->batches();
  plan.steps =
      ceil_div(progress_.position, accumulation) + ceil_div(order_->batches(), accumulation);
  return plan;
}

void Trainer::Impl::train_epoch() {
  plan_ = begin_epoch();
  const std::int64_t batches = order_->batches();
  if (batches == 0 || at_last_step()) {
    return;
  }
  const base::TimePoint start = base::Clock::now();
  const std::int64_t accumulation = arguments_.gradient_accumulation_steps;
  task_.begin_epoch(plan_);
  task_.model().train();
  report_.begin_epoch(plan_, ceil_div(progress_.position, accumulation), epochs());
  for (std::int64_t first = 0; first < batches && !at_last_step() && !result_.stopped;
       first += accumulation) {
    const double loss = train_step(first, std::min(accumulation, batches - first));
    if (arguments_.should_stop && any_rank(group_, arguments_.should_stop())) {
      result_.stopped = !job_ends(first + accumulation >= batches);
    }
    report_.step(loss);
    const bool due = arguments_.save_steps > 0 && progress_.step % arguments_.save_steps == 0;
    if (due || result_.stopped) {
      save();
    }
  }
  report_.end_epoch();
  result_.train_seconds += base::seconds(base::Clock::now() - start);
}

/// One optimizer step over `count` micro-batches from the `first` one on; returns their mean loss.
double Trainer::Impl::train_step(std::int64_t first, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::span<const std::size_t> batch = order_->batch(first + i);
    const std::shared_ptr<void> no_sync = i + 1 < count ? task_.no_sync() : nullptr;
    at::Tensor loss;
    {
      const AutocastScope autocast(arguments_.bf16);
      loss = task_.loss(batch);
    }
    TORCH_CHECK(loss.defined() && loss.numel() == 1, "expected a loss of one element, got ",
                loss.defined() ? c10::str(loss.sizes()) : "none");
    (count > 1 ? loss / static_cast<double>(count) : loss).backward();
    sum += loss.item<double>();
    progress_.samples += static_cast<std::int64_t>(batch.size()) * world_size_;
  }
  const double norm = arguments_.max_grad_norm > 0
                          ? clip_grad_norm(parameters_, arguments_.max_grad_norm)
                          : (arguments_.logging_steps > 0 ? grad_norm(parameters_) : 0.0);
  const double learning_rate = schedule_->last_lr();
  optimizer_->step();
  schedule_->step();
  // Not optimizer_->zero_grad(): it detaches in place, which LibTorch refuses for views of buckets.
  for (at::Tensor& parameter : parameters_) {
    parameter.mutable_grad().reset();
  }
  progress_.position += count;
  ++progress_.step;
  loss_sum_ += sum;
  loss_count_ += count;
  log_step(sum / static_cast<double>(count), norm, learning_rate);
  return sum / static_cast<double>(count);
}

void Trainer::Impl::log_step(double loss, double norm, double learning_rate) {
  if (arguments_.logging_steps == 0) {
    return;
  }
  logged_sum_ += loss;
  ++logged_count_;
  if (progress_.step % arguments_.logging_steps != 0) {
    return;
  }
  StepReport step;
  step.step = progress_.step;
  step.epoch = static_cast<double>(progress_.epoch) +
               static_cast<double>(progress_.position) / static_cast<double>(plan_.micro_batches);
  step.loss = sum_over_ranks(group_, {logged_sum_}).front() /
              static_cast<double>(logged_count_ * world_size_);
  step.grad_norm = norm;
  step.learning_rate = learning_rate;
  report_.log(step);
  logged_sum_ = 0;
  logged_count_ = 0;
}

void Trainer::Impl::end_epoch() {
  const bool last = job_ends(true);
  const bool due =
      arguments_.save_epochs > 0 && (progress_.epoch + 1) % arguments_.save_epochs == 0;
  const bool saves = arguments_.save_epochs > 0 || arguments_.save_steps > 0;
  if ((due || (last && saves)) && saved_step_ != progress_.step) {
    save();
  }
  const std::vector<double> sums =
      sum_over_ranks(group_, {loss_sum_, static_cast<double>(loss_count_)});
  result_.epoch_losses.push_back(sums[0] / std::max(1.0, sums[1]));
  evaluate();
  if (at_last_step()) {
    return;
  }
  ++progress_.epoch;
  progress_.position = 0;
  progress_.samples = 0;
  loss_sum_ = 0;
  loss_count_ = 0;
}

void Trainer::Impl::evaluate() {
  const json known = evaluations_.value(std::to_string(progress_.epoch), json::object());
  if (known.value("step", json()) == progress_.step && known.contains("metrics")) {
    result_.epoch_metrics.push_back(known["metrics"]);
    return;
  }
  report_.epoch_loss(progress_.epoch, result_.epoch_losses.back(), result_.train_seconds);
  json metrics;
  {
    const RngScope rng;
    const at::NoGradGuard no_grad;
    task_.model().eval();
    metrics = task_.evaluate(progress_.epoch);
  }
  output_.add_evaluation(progress_, metrics);
  result_.epoch_metrics.push_back(std::move(metrics));
}

void Trainer::Impl::save() {
  Snapshot snapshot;
  snapshot.progress = progress_;
  if (rank_ == 0) {
    snapshot.model = model_state(task_.model());
    snapshot.optimizer = optimizer_state(*optimizer_);
    snapshot.scheduler = schedule_->state();
    snapshot.extra = {{"arguments", remembered(arguments_)}, {"training_set_size", samples_}};
  }
  const std::string path = output_.save(
      std::move(snapshot), {rng_state(), {{"loss_sum", loss_sum_}, {"loss_count", loss_count_}}});
  if (!path.empty()) {
    report_.saved(progress_.epoch, path);
  }
  saved_step_ = progress_.step;
}

void Trainer::Impl::finish() {
  task_.save_result();
  any_rank(group_, false);  // every rank has returned
  output_.finish(progress_);
  report_.finished(result_, base::seconds(base::Clock::now() - began_));
}

void Trainer::Impl::abort(const std::string& reason) {
  if (group_ != nullptr) {
    group_->abort(base::aborted("rank {}: {}", rank_, reason));
  }
}

Trainer::Trainer(TrainingArguments arguments, Task& task, dist::ProcessGroup* group)
    : impl_(std::make_unique<Impl>(std::move(arguments), task, group)) {}

Trainer::~Trainer() = default;

TrainResult Trainer::run() {
  try {
    return impl_->run();
  } catch (const std::exception& error) {
    // The peers would wait for this rank until they notice its end.
    impl_->abort(error.what());
    throw;
  }
}

}  // namespace gamelan::train
