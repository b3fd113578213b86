#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace torch::optim {
class Optimizer;
}

namespace gamelan::train {

enum class ScheduleType { kLinear, kConstant };

/// "linear" or "constant" (also "constant_with_warmup"); throws c10::Error for another name.
ScheduleType schedule_type_from_name(const std::string& name);

struct ScheduleOptions {
  ScheduleType type = ScheduleType::kLinear;
  std::int64_t warmup_steps = 0;
  /// Where the linear schedule reaches zero.
  std::int64_t training_steps = 0;
};

/// What the learning rates are multiplied by at `step`, as transformers'
/// get_linear_schedule_with_warmup and get_constant_schedule_with_warmup: step / max(1, warmup)
/// during the warm-up; then 1, or max(0, (training - step) / max(1, training - warmup)).
double schedule_factor(const ScheduleOptions& options, std::int64_t step);

/// Sets the learning rate of every group of an optimizer to its base rate times the factor, as
/// torch's LambdaLR: at construction for step 0, then after every optimizer step. The optimizer
/// must outlive it. Not thread-safe.
class LrSchedule {
 public:
  /// The base rates are the groups' rates at this moment.
  LrSchedule(torch::optim::Optimizer& optimizer, ScheduleOptions options);

  /// Call after every optimizer step.
  void step();
  /// Steps taken.
  std::int64_t last_step() const { return last_step_; }
  /// The rate of the first group for the next optimizer step.
  double last_lr() const;

  /// {"last_step", "base_lrs"}.
  nlohmann::json state() const;
  /// Continues from `state` and sets the rates. Throws c10::Error when it is not the state of a
  /// schedule over as many groups.
  void load_state(const nlohmann::json& state);

 private:
  void set_rates();

  torch::optim::Optimizer& optimizer_;
  ScheduleOptions options_;
  std::vector<double> base_lrs_;
  std::int64_t last_step_ = 0;
};

}  // namespace gamelan::train
