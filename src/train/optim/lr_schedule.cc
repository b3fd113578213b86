#include "train/optim/lr_schedule.h"

#include <c10/util/Exception.h>
#include <torch/optim/optimizer.h>

#include <algorithm>

namespace gamelan::train {

ScheduleType schedule_type_from_name(const std::string& name) {
  if (name == "linear") {
    return ScheduleType::kLinear;
  }
  if (name == "constant" || name == "constant_with_warmup") {
    return ScheduleType::kConstant;
  }
  TORCH_CHECK_VALUE(false, "lr_scheduler_type: expected 'linear' or 'constant', got '", name, "'");
}

double schedule_factor(const ScheduleOptions& options, std::int64_t step) {
  if (step < options.warmup_steps) {
    return static_cast<double>(step) /
           static_cast<double>(std::max<std::int64_t>(1, options.warmup_steps));
  }
  if (options.type == ScheduleType::kConstant) {
    return 1.0;
  }
  return std::max(0.0, static_cast<double>(options.training_steps - step) /
                           static_cast<double>(std::max<std::int64_t>(
                               1, options.training_steps - options.warmup_steps)));
}

LrSchedule::LrSchedule(torch::optim::Optimizer& optimizer, ScheduleOptions options)
    : optimizer_(optimizer), options_(options) {
  for (auto& group : optimizer_.param_groups()) {
    base_lrs_.push_back(group.options().get_lr());
  }
  set_rates();
}

void LrSchedule::step() {
  ++last_step_;
  set_rates();
}

double LrSchedule::last_lr() const {
  return base_lrs_.empty() ? 0.0 : base_lrs_.front() * schedule_factor(options_, last_step_);
}

nlohmann::json LrSchedule::state() const {
  return {{"last_step", last_step_}, {"base_lrs", base_lrs_}};
}

void LrSchedule::load_state(const nlohmann::json& state) {
  const bool shaped = state.is_object() && state.contains("last_step") &&
                      state["last_step"].is_number_integer() && state.contains("base_lrs") &&
                      state["base_lrs"].is_array() &&
                      state["base_lrs"].size() == base_lrs_.size() &&
                      std::all_of(state["base_lrs"].begin(), state["base_lrs"].end(),
                                  [](const nlohmann::json& lr) { return lr.is_number(); });
  TORCH_CHECK(shaped, "schedule state: expected 'last_step' and ", base_lrs_.size(),
              " 'base_lrs', got ", state.dump());
  last_step_ = state["last_step"].get<std::int64_t>();
  base_lrs_ = state["base_lrs"].get<std::vector<double>>();
  set_rates();
}

void LrSchedule::set_rates() {
  const double factor = schedule_factor(options_, last_step_);
  auto& groups = optimizer_.param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    groups[g].options().set_lr(base_lrs_[g] * factor);
  }
}

}  // namespace gamelan::train
