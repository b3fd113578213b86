// The shortest complete training job: a linear layer, 2,048 random samples, any number of
// processes, snapshots.
//
//   gamelan run --standalone --nproc-per-node 2 --max-restarts 3 toy-trainer --total-epochs 50
//   --save-every 10
//
// Kill a process, or the whole job and type the command again: it goes on at the last snapshot.

#include <fmt/format.h>
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "cli/arguments.h"
#include "dist/rendezvous/init.h"
#include "train/checkpoint/exchange.h"
#include "train/ddp/distributed_data_parallel.h"
#include "train/torch_view.h"
#include "train/trainer/stop_signal.h"
#include "train/trainer/trainer.h"

namespace {

using namespace gamelan;

constexpr std::int64_t kSamples = 2048;
constexpr std::int64_t kFeatures = 20;

class ToyTask : public train::Task {
 public:
  ToyTask(std::shared_ptr<dist::ProcessGroup> group, std::int64_t batch_size)
      : rank_(train::rank_of(group.get())), batch_size_(batch_size), model_(kFeatures, 1) {
    torch::manual_seed(0);  // every process makes the same samples
    inputs_ = torch::rand({kSamples, kFeatures});
    targets_ = torch::rand({kSamples, 1});
    if (group != nullptr) {
      ddp_.emplace(model_, std::move(group));
    }
  }

  torch::nn::Module& model() override { return *model_; }
  train::TrainingSet training_set() override { return {kSamples, {}}; }

  at::Tensor loss(std::span<const std::size_t> indices) override {
    const std::vector<std::int64_t> rows(indices.begin(), indices.end());
    const torch::Tensor index = torch::tensor(rows);
    const torch::Tensor input = inputs_.index_select(0, index);
    const torch::Tensor output = ddp_ ? ddp_->forward(input) : model_->forward(input);
    return torch::mse_loss(output, targets_.index_select(0, index));
  }

  std::shared_ptr<void> no_sync() override {
    using NoSync = train::DistributedDataParallelBase::NoSync;
    return ddp_ ? std::make_shared<NoSync>(*ddp_) : nullptr;
  }

  void begin_epoch(const train::EpochPlan& plan) override {
    fmt::print("[GPU{}] Epoch {} | Batchsize: {} | Steps: {}\n", rank_, plan.epoch, batch_size_,
               plan.micro_batches);
    std::fflush(stdout);
  }

  nlohmann::json evaluate(std::int64_t) override { return nlohmann::json::object(); }
  void save_result() override {}

 private:
  const int rank_;
  const std::int64_t batch_size_;
  torch::nn::Linear model_;
  torch::Tensor inputs_;   // [kSamples, kFeatures]
  torch::Tensor targets_;  // [kSamples, 1]
  std::optional<train::DistributedDataParallel<torch::nn::Linear>> ddp_;
};

/// The job that a launcher put this process into; no group when it was started alone.
dist::Job join_job() {
  if (std::getenv("RANK") == nullptr) {
    return {};
  }
  return train::value_or_throw(dist::init_process_group());
}

/// Exit code.
int train_toy(train::TrainingArguments arguments) {
  const train::StopSignal stop;  // SIGTERM: a snapshot, then the end
  arguments.should_stop = [&stop] { return stop.requested(); };
  dist::Job job = join_job();
  const std::shared_ptr<dist::ProcessGroup> group = std::move(job.group);
  ToyTask task(group, arguments.per_device_train_batch_size);
  const train::TrainResult result = train::Trainer(arguments, task, group.get()).run();
  return result.stopped ? train::StopSignal::kExitCode : cli::kExitDone;
}

}  // namespace

int main(int argc, char** argv) {
  train::TrainingArguments arguments;
  arguments.output_dir = "toy-snapshots";
  arguments.per_device_train_batch_size = 32;
  arguments.optim = "sgd";
  arguments.learning_rate = 1e-3;
  arguments.lr_scheduler_type = "constant";
  arguments.max_grad_norm = 0;
  arguments.save_steps = 0;
  arguments.disable_tqdm = true;

  CLI::App app;
  cli::describe(app, "toy-trainer --total-epochs 50 --save-every 10", "Trains a toy.");
  app.add_option("--total-epochs", arguments.num_train_epochs, "Epochs to train");
  app.add_option("--save-every", arguments.save_epochs, "Epochs between two snapshots");
  app.add_option("--batch-size", arguments.per_device_train_batch_size, "Of each process");
  app.add_option("--snapshot-path", arguments.output_dir, "Folder of the snapshots");
  app.add_flag("--overwrite-output-dir", arguments.overwrite_output_dir, "Begin anew");
  if (const auto exit_code = cli::parse(app, cli::arguments_of(argc, argv))) {
    return *exit_code;
  }
  try {
    return train_toy(arguments);
  } catch (const c10::Error& error) {
    fmt::print(stderr, "toy-trainer: {}\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    fmt::print(stderr, "toy-trainer: {}\n", error.what());
  }
  return cli::kExitFailed;
}
