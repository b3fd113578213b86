// One model on several ranks gives the tokens of one process.
#include "infer/parallel/parallel_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "dist/collective/process_group.h"
#include "infer/parallel/parallel_job.h"
#include "tests/infer/model_fixture.h"
#include "tests/support/ranks.h"

namespace gamelan::infer {
namespace {

using gamelan::testing::Rank;
using gamelan::testing::RankMode;
using testing::Matrix;
using testing::TestContext;

/// "NAME TENSOR PIPELINE".
struct Setup {
  std::string name;
  int tensor = 1;
  int pipeline = 1;

  static Setup parse(const std::string& argument) {
    std::istringstream text(argument);
    Setup setup;
    text >> setup.name >> setup.tensor >> setup.pipeline;
    return setup;
  }
};

GAMELAN_RANK_BODY(continues_as_one_process) {
  const Setup setup = Setup::parse(rank.argument);
  const auto group = gamelan::testing::form_group_for_test(rank);
  auto stage = form_stage_group(rank.store, rank.rank, setup.tensor, setup.pipeline);
  ASSERT_TRUE(stage.ok()) << stage.status();
  const TestContext context(1);
  LoadOptions options{.scheme = kernels::WeightScheme::kF32, .parallel = {}};
  options.parallel = {setup.tensor, setup.pipeline, group.get(), stage->get()};
  auto model = load_parallel_model(testing::model_folder(setup.name), *context, options);
  ASSERT_TRUE(model.ok()) << model.status();
  if (!(*model)->leads()) {
    const base::Status status = (*model)->serve_steps();
    EXPECT_TRUE(status.ok()) << status;
    return;
  }
  ASSERT_TRUE((*model)->create_cache({tensor::DType::kF32, 4}, 20).ok());
  const auto expected = testing::read_expected(setup.name);
  const Matrix golden = testing::read_npy(testing::model_folder(setup.name) + "/logits.npy");
  EXPECT_LT(
      testing::max_difference(testing::run_in_chunks(**model, expected.input_ids, {4}), golden),
      1e-4);
  EXPECT_EQ(testing::continue_greedily(**model, expected.input_ids, expected.greedy.size()),
            expected.greedy);
}

void expect_same(RankMode mode, const std::string& name, int tensor, int pipeline) {
  SCOPED_TRACE(fmt::format("{} {}x{}", name, tensor, pipeline));
  gamelan::testing::run_ranks(mode, tensor * pipeline, "continues_as_one_process",
                              fmt::format("{} {} {}", name, tensor, pipeline));
}

TEST(ParallelModelTest, TensorParallelRanksGiveTheSameTokens) {
  for (const int size : {2, 3, 4, 6}) {
    expect_same(RankMode::kThreads, "bloom_12_heads", size, 1);
  }
  expect_same(RankMode::kThreads, "bloom_5_heads", 5, 1);
}

TEST(ParallelModelTest, EveryArchitectureCanBeSplit) {
  for (const char* name :
       {"bloom_post_norm", "gpt2", "gpt_neox", "gpt_neox_sequential", "opt", "opt_projected",
        "llama_biases", "mistral_unwindowed", "qwen2_window", "llama_yarn"}) {
    expect_same(RankMode::kThreads, name, 2, 1);
    expect_same(RankMode::kThreads, name, 1, 2);
    expect_same(RankMode::kThreads, name, 2, 2);
  }
}

TEST(ParallelModelTest, SoDoProcesses) {
  expect_same(RankMode::kProcesses, "bloom_12_heads", 2, 1);
  expect_same(RankMode::kProcesses, "llama", 2, 2);
}

GAMELAN_RANK_BODY(leaves_during_a_step) {
  const auto group = gamelan::testing::form_group_for_test(rank);
  const TestContext context(1);
  LoadOptions options{.scheme = kernels::WeightScheme::kF32, .parallel = {}};
  options.parallel = {2, 1, group.get(), nullptr};
  auto model = load_parallel_model(testing::model_folder("gpt2"), *context, options);
  ASSERT_TRUE(model.ok()) << model.status();
  if (rank.rank == 1) {
    group->abort(base::unavailable("the test wants it"));
    return;
  }
  const base::Status made = (*model)->create_cache({tensor::DType::kF32, 4}, 20);
  Matrix logits(1, (*model)->config().vocab_size);
  const StepPlan plan{{5}, {{1, 0, 1, 0, 1}}, {0}, {}};
  const base::Status ran = made.ok() ? (*model)->forward(plan, logits.view()) : made;
  EXPECT_FALSE(ran.ok());
}

TEST(ParallelModelTest, ALostRankFailsTheCallAndNothingHangs) {
  gamelan::testing::run_ranks(RankMode::kProcesses, 2, "leaves_during_a_step");
}

GAMELAN_RANK_BODY(one_rank_cannot_load) {
  const auto group = gamelan::testing::form_group_for_test(rank);
  const TestContext context(1);
  LoadOptions options{.scheme = kernels::WeightScheme::kF32, .parallel = {}};
  options.parallel = {2, 1, group.get(), nullptr};
  const std::string name = rank.rank == 1 ? "no_such_model" : "gpt2";
  const auto model = load_parallel_model(testing::model_folder(name), *context, options);
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(std::string(model.status().message()),
              ::testing::HasSubstr(rank.rank == 1 ? "no_such_model" : "failed on rank 1"));
}

TEST(ParallelModelTest, AFailureToLoadIsEveryRanks) {
  gamelan::testing::run_ranks(RankMode::kThreads, 2, "one_rank_cannot_load");
}

}  // namespace
}  // namespace gamelan::infer
