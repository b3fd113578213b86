#include "train/trainer/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <numeric>

#include "tests/train/dropout_task.h"
#include "tests/train/scratch_folder.h"
#include "train/checkpoint/snapshot.h"
#include "train/checkpoint/snapshot_folder.h"
#include "train/trainer/epoch_order.h"
#include "train/trainer/stop_signal.h"

namespace gamelan::train {
namespace {

using testing::dropout_arguments;
using testing::DropoutTask;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Weights = std::map<std::string, at::Tensor>;

constexpr std::int64_t kSamples = 47;  // 12 micro-batches, 6 steps an epoch

Weights weights_of(DropoutTask& task) {
  Weights copy;
  for (const auto& [name, tensor] : model_state(task.model())) {
    copy[name] = tensor.clone();
  }
  return copy;
}

void expect_same(const Weights& a, const Weights& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) {
    EXPECT_TRUE(torch::equal(tensor, b.at(name))) << name;
  }
}

std::string error_of(const TrainingArguments& arguments, DropoutTask& task) {
  try {
    Trainer(arguments, task, nullptr).run();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

class TrainerTest : public ::testing::Test {
 protected:
  /// Trains to the end without a stop and returns the weights.
  Weights undisturbed() {
    DropoutTask task(kSamples);
    const TrainResult result =
        Trainer(dropout_arguments(scratch_.file("whole")), task, nullptr).run();
    EXPECT_EQ(result.steps, 24);
    EXPECT_EQ(result.epoch_losses.size(), 4u);
    return weights_of(task);
  }

  testing::ScratchFolder scratch_;
  const std::string out_ = scratch_.file("out");
};

TEST_F(TrainerTest, ContinuesBitExactlyAfterEveryStep) {
  const Weights expected = undisturbed();
  for (const int every : {1, 4, 5, 6, 11}) {
    const std::string out = scratch_.file("every" + std::to_string(every));
    TrainResult result;
    std::int64_t before = 0;
    Weights weights;
    do {
      DropoutTask task(kSamples);
      int steps = 0;
      TrainingArguments arguments = dropout_arguments(out);
      arguments.should_stop = [&] { return ++steps == every; };
      result = Trainer(arguments, task, nullptr).run();
      EXPECT_EQ(result.resumed_step, before);
      before = result.steps;
      weights = weights_of(task);
    } while (result.stopped);
    EXPECT_EQ(result.steps, 24);
    EXPECT_EQ(result.epoch_metrics.size(), 4u);
    expect_same(expected, weights);
  }
}

TEST_F(TrainerTest, GoesBackToTheLastSnapshotAfterAnError) {
  const Weights expected = undisturbed();
  DropoutTask task(kSamples);
  int batches = 0;
  task.on_batch = [&] { TORCH_CHECK(++batches < 18, "batch 18"); };
  EXPECT_THAT(error_of(dropout_arguments(out_), task), HasSubstr("batch 18"));
  DropoutTask again(kSamples);
  const TrainResult result = Trainer(dropout_arguments(out_), again, nullptr).run();
  EXPECT_EQ(result.resumed_step, 6);
  expect_same(expected, weights_of(again));
}

TEST_F(TrainerTest, UsesTheSnapshotBeforeADamagedOne) {
  const Weights expected = undisturbed();
  DropoutTask task(kSamples);
  int steps = 0;
  TrainingArguments arguments = dropout_arguments(out_);
  arguments.should_stop = [&] { return ++steps == 10; };
  EXPECT_TRUE(Trainer(arguments, task, nullptr).run().stopped);
  const std::string newest = SnapshotFolder(out_).snapshot_path(10) + "/model.safetensors";
  std::filesystem::resize_file(newest, std::filesystem::file_size(newest) - 1);
  DropoutTask again(kSamples);
  const TrainResult result = Trainer(dropout_arguments(out_), again, nullptr).run();
  EXPECT_EQ(result.resumed_step, 9);
  EXPECT_TRUE(std::filesystem::exists(out_ + "/damaged-snapshot-10"));
  expect_same(expected, weights_of(again));
}

TEST_F(TrainerTest, AFinishedJobSaysSo) {
  DropoutTask task(kSamples);
  Trainer(dropout_arguments(out_), task, nullptr).run();
  EXPECT_EQ(task.results, 1);
  EXPECT_EQ(task.evaluations, 4);
  DropoutTask again(kSamples);
  ::testing::internal::CaptureStdout();
  const TrainResult result = Trainer(dropout_arguments(out_), again, nullptr).run();
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("already finished"));
  EXPECT_TRUE(result.already_finished);
  EXPECT_TRUE(again.seen.empty());
  EXPECT_EQ(again.results, 0);
}

TEST_F(TrainerTest, AFinishedJobGoesOnWhenMoreIsAskedFor) {
  DropoutTask task(kSamples);
  Trainer(dropout_arguments(out_), task, nullptr).run();
  DropoutTask again(kSamples);
  TrainingArguments more = dropout_arguments(out_);
  more.num_train_epochs = 6;
  const TrainResult result = Trainer(more, again, nullptr).run();
  EXPECT_EQ(result.resumed_step, 24);
  EXPECT_EQ(result.steps, 36);
  EXPECT_EQ(again.evaluations, 2) << "the fourth epoch had been evaluated";
  EXPECT_EQ(result.epoch_metrics.size(), 6u);
}

TEST_F(TrainerTest, FinishesAJobThatWasKilledBeforeItsResult) {
  DropoutTask task(kSamples);
  task.on_result = [](torch::nn::Module&) { TORCH_CHECK(false, "no result"); };
  EXPECT_THAT(error_of(dropout_arguments(out_), task), HasSubstr("no result"));
  DropoutTask again(kSamples);
  const TrainResult result = Trainer(dropout_arguments(out_), again, nullptr).run();
  EXPECT_FALSE(result.already_finished);
  EXPECT_EQ(again.results, 1);
  EXPECT_EQ(again.evaluations, 0);
  EXPECT_TRUE(again.seen.empty());
}

TEST_F(TrainerTest, OverwritesOnRequest) {
  const Weights expected = undisturbed();
  DropoutTask task(kSamples);
  TrainingArguments arguments = dropout_arguments(out_);
  arguments.seed = 5;
  Trainer(arguments, task, nullptr).run();
  DropoutTask again(kSamples);
  TrainingArguments anew = dropout_arguments(out_);
  anew.overwrite_output_dir = true;
  EXPECT_EQ(Trainer(anew, again, nullptr).run().resumed_step, 0);
  expect_same(expected, weights_of(again));
}

TEST_F(TrainerTest, RefusesUnusableFoldersAndOtherJobs) {
  DropoutTask task(kSamples);
  std::filesystem::create_directory(out_);
  testing::write_file(out_ + "/thesis.txt", "x");
  EXPECT_THAT(error_of(dropout_arguments(out_), task), HasSubstr("--overwrite-output-dir"));
  EXPECT_THAT(error_of(dropout_arguments(out_ + "/thesis.txt"), task), HasSubstr("thesis.txt"));

  TrainingArguments arguments = dropout_arguments(scratch_.file("other"));
  arguments.max_steps = 4;
  Trainer(arguments, task, nullptr).run();
  arguments.max_steps = 8;
  DropoutTask larger(kSamples + 1);
  EXPECT_THAT(error_of(arguments, larger), HasSubstr("expected 47 samples, got 48"));
}

TEST_F(TrainerTest, RefusesWrongArguments) {
  DropoutTask task(kSamples);
  const auto error = [&](const std::function<void(TrainingArguments&)>& spoil) {
    TrainingArguments arguments = dropout_arguments("");
    spoil(arguments);
    return error_of(arguments, task);
  };
  EXPECT_THAT(error([](auto& a) { a.per_device_train_batch_size = 0; }),
              HasSubstr("per_device_train_batch_size"));
  EXPECT_THAT(error([](auto& a) { a.gradient_accumulation_steps = -1; }),
              HasSubstr("gradient_accumulation_steps"));
  EXPECT_THAT(error([](auto& a) { a.num_train_epochs = 0; }), HasSubstr("num_train_epochs"));
  EXPECT_THAT(error([](auto& a) { a.warmup_ratio = 2; }), HasSubstr("warmup_ratio"));
  EXPECT_THAT(error([](auto& a) { a.lr_scheduler_type = "cosine"; }), HasSubstr("cosine"));
  EXPECT_THAT(error([](auto& a) { a.optim = "lion"; }), HasSubstr("lion"));
  EXPECT_THAT(error([](auto& a) { a.group_by_length = true; }), HasSubstr("group_by_length"));
  EXPECT_THAT(error([](auto& a) {
                a.dataloader_drop_last = true;
                a.per_device_train_batch_size = 100;
              }),
              HasSubstr("at least one micro-batch of 100"));
}

TEST_F(TrainerTest, AccumulationEqualsALargerBatch) {
  const auto train = [](std::int64_t batch, std::int64_t accumulation, int no_syncs) {
    DropoutTask task(48, nullptr, /*dropout=*/0.0);
    TrainingArguments arguments = dropout_arguments("");
    arguments.optim = "sgd";  // Adam would make rounding errors of tiny gradients large
    arguments.per_device_train_batch_size = batch;
    arguments.gradient_accumulation_steps = accumulation;
    EXPECT_EQ(Trainer(arguments, task, nullptr).run().steps, 24);
    EXPECT_EQ(task.no_syncs, no_syncs);
    return weights_of(task);
  };
  const Weights whole = train(8, 1, 0);
  const Weights parts = train(2, 4, 24 * 3);
  for (const auto& [name, tensor] : whole) {
    EXPECT_TRUE(torch::allclose(tensor, parts.at(name), 1e-4, 1e-5)) << name;
  }
}

TEST_F(TrainerTest, CountsStepsEpochsAndSamples) {
  DropoutTask task(kSamples);
  const TrainResult result = Trainer(dropout_arguments(""), task, nullptr).run();
  EXPECT_EQ(result.steps, 24);
  ASSERT_EQ(task.plans.size(), 4u);
  EXPECT_EQ(task.plans[2].epoch, 2);
  EXPECT_EQ(task.plans[2].micro_batches, 12);
  EXPECT_EQ(task.plans[2].steps, 6);
  for (int epoch = 0; epoch < 4; ++epoch) {
    const auto first = task.seen.begin() + epoch * kSamples;
    std::vector<std::size_t> sorted(first, first + kSamples);
    EXPECT_FALSE(std::is_sorted(sorted.begin(), sorted.end()));
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::size_t> all(kSamples);
    std::iota(all.begin(), all.end(), 0u);
    EXPECT_EQ(sorted, all);
  }
  EXPECT_EQ(result.epoch_metrics[1], (nlohmann::json{{"epoch", 1}, {"training", false}}));
}

TEST_F(TrainerTest, EndsAtMaxStepsAndGoesOnFromThere) {
  DropoutTask task(kSamples);
  TrainingArguments arguments = dropout_arguments(out_);
  arguments.lr_scheduler_type = "constant";
  arguments.warmup_ratio = 0;
  arguments.max_steps = 8;
  EXPECT_EQ(Trainer(arguments, task, nullptr).run().steps, 8);
  EXPECT_EQ(task.results, 1);
  EXPECT_TRUE(Trainer(arguments, task, nullptr).run().already_finished);
  DropoutTask more(kSamples);
  arguments.max_steps = 15;
  const TrainResult result = Trainer(arguments, more, nullptr).run();
  EXPECT_EQ(result.resumed_step, 8);
  EXPECT_EQ(result.steps, 15);
  DropoutTask whole(kSamples);
  arguments.output_dir = "";
  Trainer(arguments, whole, nullptr).run();
  expect_same(weights_of(whole), weights_of(more));
}

/// While it lives no file of this process may grow beyond `bytes`: every write of a snapshot fails.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_ = {};
};

TEST_F(TrainerTest, GoesOnWhenSnapshotsCannotBeWritten) {
  const Weights expected = undisturbed();
  DropoutTask task(kSamples);
  int batches = 0;
  std::optional<FileLimit> limit;
  task.on_batch = [&] {
    // From step 4 on, after the snapshot of step 3, until the process ends in step 10.
    if (++batches == 8) {
      limit.emplace(100);
    }
    TORCH_CHECK(batches < 20, "batch 20");
  };
  EXPECT_THAT(error_of(dropout_arguments(out_), task), HasSubstr("batch 20"));
  limit.reset();
  EXPECT_THAT(SnapshotFolder(out_).steps().value(), ElementsAre(3));
  DropoutTask again(kSamples);
  const TrainResult result = Trainer(dropout_arguments(out_), again, nullptr).run();
  EXPECT_EQ(result.resumed_step, 3);
  EXPECT_EQ(result.failed_saves, 0);
  expect_same(expected, weights_of(again));
}

TEST_F(TrainerTest, CountsFailedSnapshotsOrStopsAtThem) {
  DropoutTask task(kSamples);
  std::optional<FileLimit> limit;
  task.on_batch = [&] {
    if (!limit) {
      limit.emplace(100);
    }
  };
  EXPECT_EQ(Trainer(dropout_arguments(out_), task, nullptr).run().failed_saves, 8);
  limit.reset();
  DropoutTask stops(kSamples);
  stops.on_batch = task.on_batch;
  TrainingArguments arguments = dropout_arguments(scratch_.file("stops"));
  arguments.save_failure = SaveFailure::kStop;
  EXPECT_THAT(error_of(arguments, stops), HasSubstr("snapshot of step 3"));
  limit.reset();
}

TEST_F(TrainerTest, WritesASnapshotWhenToldToEnd) {
  const Weights expected = undisturbed();
  DropoutTask task(kSamples);
  {
    const StopSignal stop;
    int batches = 0;
    task.on_batch = [&] {
      if (++batches == 9) {
        std::raise(SIGTERM);
      }
    };
    TrainingArguments arguments = dropout_arguments(out_);
    arguments.should_stop = [&] { return stop.requested(); };
    EXPECT_TRUE(Trainer(arguments, task, nullptr).run().stopped);
  }
  EXPECT_EQ(SnapshotFolder(out_).steps()->front(), 5);
  EXPECT_EQ(task.results, 0);
  DropoutTask again(kSamples);
  EXPECT_EQ(Trainer(dropout_arguments(out_), again, nullptr).run().resumed_step, 5);
  expect_same(expected, weights_of(again));
}

TEST_F(TrainerTest, TrainsUnderAutocast) {
  DropoutTask plain(kSamples);
  const TrainResult fp32 = Trainer(dropout_arguments(""), plain, nullptr).run();
  DropoutTask task(kSamples);
  TrainingArguments arguments = dropout_arguments("");
  arguments.bf16 = true;
  const TrainResult bf16 = Trainer(arguments, task, nullptr).run();
  EXPECT_NE(bf16.epoch_losses.back(), fp32.epoch_losses.back());
  EXPECT_NEAR(bf16.epoch_losses.back(), fp32.epoch_losses.back(), 0.05 * fp32.epoch_losses.back());
  EXPECT_EQ(task.model().parameters()[0].scalar_type(), at::kFloat);
}

TEST(EpochOrderTest, GroupsByLength) {
  std::vector<std::int64_t> lengths(1000);
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    lengths[i] = static_cast<std::int64_t>((i * 7919) % 512);
  }
  const std::vector<std::size_t> order = length_grouped_order(lengths, 16, 3);
  std::vector<std::size_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    ASSERT_EQ(sorted[i], i);
  }
  EXPECT_EQ(lengths[order[0]], 511);
  double padding = 0;
  for (std::size_t start = 16; start + 16 <= order.size(); start += 16) {
    const auto [low, high] =
        std::minmax_element(order.begin() + static_cast<std::ptrdiff_t>(start),
                            order.begin() + static_cast<std::ptrdiff_t>(start) + 16,
                            [&](std::size_t a, std::size_t b) { return lengths[a] < lengths[b]; });
    padding += static_cast<double>(lengths[*high] - lengths[*low]);
  }
  EXPECT_LT(padding / 61, 60) << "the average spread of lengths within a joint batch";
  EXPECT_NE(order, length_grouped_order(lengths, 16, 4));
  EXPECT_EQ(order, length_grouped_order(lengths, 16, 3));
}

// Three ranks stop somewhere in an epoch; two go on: nothing is lost or seen twice.
TEST(EpochOrderTest, DealsAnewToAnotherNumberOfRanks) {
  for (const bool grouped : {false, true}) {
    EpochOrder::Options options;
    options.size = 96;
    if (grouped) {
      options.lengths.resize(96);
      std::iota(options.lengths.begin(), options.lengths.end(), 1);
    }
    options.batch_size = 4;
    options.seed = 11;
    std::vector<std::size_t> seen;
    const auto take = [&](int ranks, std::int64_t consumed, std::int64_t batches) {
      for (int rank = 0; rank < ranks; ++rank) {
        EpochOrder::Options mine = options;
        mine.rank = rank;
        mine.world_size = ranks;
        EpochOrder order(mine);
        order.begin(5, consumed);
        for (std::int64_t i = 0; i < (batches < 0 ? order.batches() : batches); ++i) {
          const auto batch = order.batch(i);
          seen.insert(seen.end(), batch.begin(), batch.end());
        }
      }
    };
    take(3, 0, 4);
    EXPECT_EQ(seen.size(), 48u);
    take(2, 48, -1);
    std::sort(seen.begin(), seen.end());
    std::vector<std::size_t> all(96);
    std::iota(all.begin(), all.end(), 0u);
    EXPECT_EQ(seen, all);
  }
}

}  // namespace
}  // namespace gamelan::train
