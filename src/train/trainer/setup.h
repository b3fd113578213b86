#pragma once

// What Trainer makes of its arguments before it begins.

#include <cstdint>
#include <nlohmann/json.hpp>

#include "train/optim/lr_schedule.h"
#include "train/optim/make_optimizer.h"
#include "train/trainer/training_arguments.h"

namespace gamelan::train {

/// Throws c10::Error, naming the argument, for values that can never be right.
void check_arguments(const TrainingArguments& arguments);

/// What a snapshot keeps of the arguments, to tell a user who changed one on the way.
nlohmann::json remembered(const TrainingArguments& arguments);

OptimizerOptions optimizer_options(const TrainingArguments& arguments);
ScheduleOptions schedule_options(const TrainingArguments& arguments, std::int64_t total_steps);

}  // namespace gamelan::train
