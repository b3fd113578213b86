#include "gamelan-train/run_job.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "train/trainer/stop_signal.h"

namespace gamelan::apps {
namespace {

nlohmann::json figures(const train::TrainResult& result, const Processes& processes,
                       const train::TrainingArguments& arguments, const JobReport& report) {
  nlohmann::json all = {{"already_finished", result.already_finished},
                        {"stopped", result.stopped},
                        {"steps", result.steps},
                        {"resumed_step", result.resumed_step},
                        {"failed_saves", result.failed_saves},
                        {"train_losses", result.epoch_losses},
                        {"evaluations", result.epoch_metrics},
                        {"train_seconds", result.train_seconds},
                        {"seconds", base::seconds(base::Clock::now() - report.start)},
                        {"world_size", processes.size()},
                        {"output_dir", arguments.output_dir}};
  if (!result.epoch_metrics.empty() && result.epoch_metrics.back().contains(report.metric)) {
    all[report.metric] = result.epoch_metrics.back()[report.metric];
  }
  return all;
}

}  // namespace

int run_task(train::Task& task, const Processes& processes,
             const train::TrainingArguments& arguments, const OutputOptions& output,
             const JobReport& report) {
  const train::StopSignal stop;
  train::TrainingArguments stoppable = arguments;
  stoppable.should_stop = [&stop] { return stop.requested(); };
  train::Trainer trainer(stoppable, task, processes.group.get());
  const train::TrainResult result = trainer.run();
  if (output.json) {
    say(processes, figures(result, processes, arguments, report).dump());
  }
  return result.stopped ? train::StopSignal::kExitCode : cli::kExitDone;
}

int run_verb(std::string_view verb, const std::function<int()>& work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    fmt::print(stderr, "gamelan train {}: {}\n", verb, error.what_without_backtrace());
  } catch (const std::exception& error) {
    fmt::print(stderr, "gamelan train {}: {}\n", verb, error.what());
  }
  return cli::kExitFailed;
}

}  // namespace gamelan::apps
