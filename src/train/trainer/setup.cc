#include "train/trainer/setup.h"

#include <c10/util/Exception.h>

#include <cmath>

namespace gamelan::train {

void check_arguments(const TrainingArguments& a) {
  schedule_type_from_name(a.lr_scheduler_type);
  TORCH_CHECK_VALUE(a.per_device_train_batch_size > 0,
                    "per_device_train_batch_size: expected at least 1, got ",
                    a.per_device_train_batch_size);
  TORCH_CHECK_VALUE(a.gradient_accumulation_steps > 0,
                    "gradient_accumulation_steps: expected at least 1, got ",
                    a.gradient_accumulation_steps);
  TORCH_CHECK_VALUE(a.num_train_epochs > 0 || a.max_steps > 0,
                    "num_train_epochs: expected at least 1, got ", a.num_train_epochs);
  TORCH_CHECK_VALUE(a.max_grad_norm >= 0, "max_grad_norm: expected 0 (off) or more, got ",
                    a.max_grad_norm);
  TORCH_CHECK_VALUE(a.warmup_ratio >= 0 && a.warmup_ratio <= 1,
                    "warmup_ratio: expected a number from 0 to 1, got ", a.warmup_ratio);
  TORCH_CHECK_VALUE(a.warmup_steps >= 0 && a.save_steps >= 0 && a.save_epochs >= 0 &&
                        a.save_total_limit >= 0 && a.logging_steps >= 0,
                    "expected no negative warmup_steps, save_steps, save_epochs, save_total_limit, "
                    "logging_steps, got ",
                    a.warmup_steps, ", ", a.save_steps, ", ", a.save_epochs, ", ",
                    a.save_total_limit, ", ", a.logging_steps);
}

/// What a snapshot keeps of the arguments, to tell a user who changed one on the way.
nlohmann::json remembered(const TrainingArguments& a) {
  return {{"per_device_train_batch_size", a.per_device_train_batch_size},
          {"gradient_accumulation_steps", a.gradient_accumulation_steps},
          {"learning_rate", a.learning_rate},
          {"weight_decay", a.weight_decay},
          {"lr_scheduler_type", a.lr_scheduler_type},
          {"max_grad_norm", a.max_grad_norm},
          {"seed", a.seed},
          {"shuffle", a.shuffle},
          {"group_by_length", a.group_by_length},
          {"bf16", a.bf16}};
}

OptimizerOptions optimizer_options(const TrainingArguments& a) {
  OptimizerOptions options;
  options.name = a.optim;
  options.learning_rate = a.learning_rate;
  options.weight_decay = a.weight_decay;
  options.beta1 = a.adam_beta1;
  options.beta2 = a.adam_beta2;
  options.epsilon = a.adam_epsilon;
  options.momentum = a.momentum;
  return options;
}

ScheduleOptions schedule_options(const TrainingArguments& a, std::int64_t total_steps) {
  ScheduleOptions options;
  options.type = schedule_type_from_name(a.lr_scheduler_type);
  options.training_steps = total_steps;
  options.warmup_steps =
      a.warmup_steps > 0
          ? a.warmup_steps
          : static_cast<std::int64_t>(std::ceil(a.warmup_ratio * static_cast<double>(total_steps)));
  return options;
}

}  // namespace gamelan::train
