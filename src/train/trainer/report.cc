#include "train/trainer/report.h"

#include <fmt/format.h>

#include <cstdio>

namespace gamelan::train {

Report::Report(const TrainingArguments& arguments, bool enabled)
    : arguments_(arguments), enabled_(enabled) {}

void Report::print(std::string_view line) {
  if (enabled_) {
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fputc('\n', stdout);
    std::fflush(stdout);
  }
}

void Report::sizes(const JobSizes& sizes) {
  const std::int64_t batch = arguments_.per_device_train_batch_size;
  const std::int64_t accumulation = arguments_.gradient_accumulation_steps;
  print(fmt::format("Training {} parameters on {} samples, {} epoch{}, {} process{}{}",
                    sizes.trainable_parameters, sizes.samples, sizes.epochs,
                    sizes.epochs == 1 ? "" : "s", sizes.world_size,
                    sizes.world_size == 1 ? "" : "es",
                    sizes.backend.empty() ? "" : " (" + sizes.backend + ")"));
  print(
      fmt::format("  batch {} a process x {} accumulated x {} process{}: effective global batch {}",
                  batch, accumulation, sizes.world_size, sizes.world_size == 1 ? "" : "es",
                  batch * accumulation * sizes.world_size));
  print(fmt::format("  steps per process: {} an epoch, {} in all; {}", sizes.steps_per_epoch,
                    sizes.total_steps, arguments_.bf16 ? "bf16 autocast" : "fp32"));
}

void Report::already_finished(std::string_view output_dir) {
  print(
      fmt::format("Training in {} has already finished; pass --overwrite-output-dir to begin anew",
                  output_dir));
}

void Report::resuming(std::int64_t epoch, const std::string& path, std::int64_t step,
                      std::int64_t total_steps) {
  print(fmt::format("Resuming training from snapshot at Epoch {}", epoch));
  print(fmt::format("  {}, {} of {} steps done", path, step, total_steps));
}

void Report::begin_epoch(const EpochPlan& plan, std::int64_t steps_done, std::int64_t epochs) {
  base::ProgressBar::Options options;
  options.title = fmt::format("Epoch {}/{}", plan.epoch, epochs - 1);
  options.total = plan.steps;
  options.initial = steps_done;
  options.unit = "step";
  options.enabled = enabled_ && !arguments_.disable_tqdm;
  bar_ = std::make_unique<base::ProgressBar>(std::move(options));
}

void Report::step(double loss) {
  bar_->set_note(fmt::format("loss {:.4f}", loss));
  bar_->advance();
}

void Report::log(const StepReport& report) {
  const std::string line =
      fmt::format("step {} epoch {:.2f} loss {:.6f} grad_norm {:.4f} learning_rate {:.3e}",
                  report.step, report.epoch, report.loss, report.grad_norm, report.learning_rate);
  print_beside_bar(line);
}

void Report::saved(std::int64_t epoch, const std::string& path) {
  print_beside_bar(fmt::format("Epoch {} | Training snapshot saved at {}", epoch, path));
}

void Report::print_beside_bar(std::string_view line) {
  if (bar_ != nullptr && enabled_ && !arguments_.disable_tqdm) {
    bar_->print(line);
  } else {
    print(line);
  }
}

void Report::end_epoch() {
  bar_.reset();
}

void Report::epoch_loss(std::int64_t epoch, double loss, double seconds) {
  print(fmt::format("Epoch {} Average Training Loss: {:.4f} ({:.1f} s)", epoch, loss, seconds));
}

void Report::stopped(std::int64_t step) {
  print(fmt::format("Stopped on request after step {}; the same command continues", step));
}

void Report::finished(const TrainResult& result, double seconds) {
  print(fmt::format("Training finished: {} steps, {:.1f} s of training, {:.1f} s in all",
                    result.steps, result.train_seconds, seconds));
}

}  // namespace gamelan::train
