// One model on several ranks gives the tokens of one process.
#include "infer/parallel/parallel_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "dist/collective/process_group.h"
#include "infer/engine/engine.h"
#include "infer/parallel/parallel_job.h"
#include "tests/apps/bloom_folder.h"
#include "tests/infer/fake_model.h"
#include "tests/infer/model_fixture.h"
#include "tests/io/temporary_folder.h"
#include "tests/support/ranks.h"

namespace gamelan::infer {
namespace {

using gamelan::testing::Rank;
using gamelan::testing::RankMode;
using testing::Matrix;
using testing::TestContext;

/// "NAME TENSOR PIPELINE SCHEME CACHE", the last two f32 when they are missing.
struct Setup {
  std::string name;
  int tensor = 1;
  int pipeline = 1;
  kernels::WeightScheme scheme = kernels::WeightScheme::kF32;
  tensor::DType cache = tensor::DType::kF32;

  static Setup parse(const std::string& argument) {
    std::istringstream text(argument);
    Setup setup;
    std::string scheme;
    std::string cache;
    text >> setup.name >> setup.tensor >> setup.pipeline >> scheme >> cache;
    setup.scheme = kernels::scheme_from_name(scheme).value_or(setup.scheme);
    setup.cache = cache == "i8" ? tensor::DType::kI8 : setup.cache;
    return setup;
  }
};

/// This rank's part of a model, and what it needs.
class Part {
 public:
  Part(Rank& rank, const Setup& setup) : group_(gamelan::testing::form_group_for_test(rank)) {
    auto stage = form_stage_group(rank.store, rank.rank, setup.tensor, setup.pipeline);
    EXPECT_TRUE(stage.ok()) << stage.status();
    stage_ = *std::move(stage);
    LoadOptions options{.scheme = setup.scheme, .parallel = {}};
    options.parallel = {setup.tensor, setup.pipeline, group_.get(), stage_.get()};
    auto model = load_parallel_model(testing::model_folder(setup.name), *context_, options);
    EXPECT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }
  /// On ranks other than 0: follows until rank 0 has gone.
  bool follows() {
    if (model_->leads()) {
      return false;
    }
    const base::Status status = model_->serve_steps();
    EXPECT_TRUE(status.ok()) << status;
    return true;
  }
  ParallelModel& model() { return *model_; }

 private:
  std::unique_ptr<dist::ProcessGroup> group_;
  std::unique_ptr<dist::ProcessGroup> stage_;
  TestContext context_{1};
  std::unique_ptr<ParallelModel> model_;
};

GAMELAN_RANK_BODY(continues_as_one_process) {
  const Setup setup = Setup::parse(rank.argument);
  Part part(rank, setup);
  if (part.follows()) {
    return;
  }
  ParallelModel& model = part.model();
  ASSERT_TRUE(model.create_cache({tensor::DType::kF32, 4}, 20).ok());
  const auto expected = testing::read_expected(setup.name);
  const Matrix golden = testing::read_npy(testing::model_folder(setup.name) + "/logits.npy");
  EXPECT_LT(testing::max_difference(testing::run_in_chunks(model, expected.input_ids, {4}), golden),
            1e-4);
  EXPECT_EQ(testing::continue_greedily(model, expected.input_ids, expected.greedy.size()),
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

/// Beams, drawn texts and greedy ones, some with proposals of either kind.
std::vector<Request> mixed_requests(const testing::Expected& expected) {
  std::vector<Request> requests;
  for (int i = 0; i < 10; ++i) {
    Request& request = requests.emplace_back();
    request.prompt.assign(expected.input_ids.begin(), expected.input_ids.begin() + 3 + i % 7);
    request.prompt.front() = i;  // no common beginnings
    request.max_new_tokens = 12 + i;
    request.end_tokens.emplace();
    switch (i % 5) {
      case 0:
        request.beam.width = 3;
        request.n = 2;
        break;
      case 1:
        request.sampling.temperature = 0.9;
        request.sampling.seed = static_cast<std::uint64_t>(i);
        request.n = 2;
        break;
      case 2:
        request.lookup_tokens = 3;
        request.lookup_ngram = 1;
        break;
      case 3:
        request.draft_tokens = 2;
        break;
      default:
        request.sampling.repetition_penalty = 1.3;
        break;
    }
  }
  return requests;
}

/// What an engine over `model` says, whose blocks do not suffice for all requests.
std::vector<std::vector<std::vector<text::TokenId>>> say(CausalModel& model, CausalModel& draft,
                                                         const Setup& setup) {
  EngineOptions options;
  options.cache = {setup.cache, 4};
  options.cache_bytes =
      (model.cache_block_bytes(options.cache) + draft.cache_block_bytes(options.cache)) * 24;
  options.max_step_tokens = 24;
  const auto engine = Engine::create(model, options, &draft);
  EXPECT_TRUE(engine.ok()) << engine.status();
  auto texts = testing::run_all(**engine, mixed_requests(testing::read_expected(setup.name)));
  const EngineStatistics statistics = (*engine)->statistics();
  EXPECT_GT(statistics.preemptions, 0U);
  EXPECT_GT(statistics.accepted_tokens, 0U);
  return texts;
}

GAMELAN_RANK_BODY(serves_as_one_process) {
  const Setup setup = Setup::parse(rank.argument);
  Part part(rank, setup);
  if (part.follows()) {
    return;
  }
  const TestContext context(1);
  const auto whole = testing::load_for_test(setup.name, context, {setup.scheme, {}});
  const auto draft = testing::load_for_test(setup.name, context);  // rank 0's alone
  ASSERT_TRUE(whole != nullptr && draft != nullptr);
  EXPECT_EQ(say(part.model(), *draft, setup), say(*whole, *draft, setup));
}

TEST(ParallelModelTest, TheEngineSaysWhatItSaysOfOneProcess) {
  for (const char* const setup : {"llama_biases 2 1", "llama_biases 1 2", "bloom_12_heads 2 2"}) {
    SCOPED_TRACE(setup);
    const int ranks = std::string(setup).ends_with("2 2") ? 4 : 2;
    gamelan::testing::run_ranks(RankMode::kThreads, ranks, "serves_as_one_process", setup);
  }
}

// A stage computes what one process does, bit for bit, whatever its weights are.
TEST(ParallelModelTest, SoItDoesOverStagesOfNarrowNumbers) {
  for (const char* const scheme : {"int8", "int8-dynamic", "int4", "bf16"}) {
    SCOPED_TRACE(scheme);
    gamelan::testing::run_ranks(RankMode::kThreads, 2, "serves_as_one_process",
                                fmt::format("llama_biases 1 2 {} i8", scheme));
  }
}

GAMELAN_RANK_BODY(stays_close_to_exact_logits) {
  const Setup setup = Setup::parse(rank.argument);
  Part part(rank, setup);
  if (part.follows()) {
    return;
  }
  ASSERT_TRUE(part.model().create_cache({setup.cache, 4}, 20).ok());
  const auto ids = testing::read_expected(setup.name).input_ids;
  EXPECT_LT(testing::relative_square_error(
                testing::run_in_chunks(part.model(), ids, {5, 1}),
                testing::read_npy(testing::model_folder(setup.name) + "/logits.npy")),
            testing::kNarrowTolerance);
}

// Where columns of a matrix are divided, each rank's part of a row has a scale of its own, and sums
// are rounded in another order before they become 8 bits: other numbers, but no worse ones.
TEST(ParallelModelTest, NarrowNumbersStayCloseOverTensorRanks) {
  for (const char* const scheme : {"int8", "int8-dynamic", "bf16"}) {
    for (const char* const cache : {"f32", "i8"}) {
      const std::string setup = fmt::format("llama_biases 2 1 {} {}", scheme, cache);
      SCOPED_TRACE(setup);
      gamelan::testing::run_ranks(RankMode::kThreads, 2, "stays_close_to_exact_logits", setup);
    }
  }
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

GAMELAN_RANK_BODY(counts_the_fullest_stages_blocks) {
  const io::TemporaryFolder folder;
  gamelan::testing::write_bloom_folder(folder.path(), {2, 8, 3, 97});
  const auto group = gamelan::testing::form_group_for_test(rank);
  const TestContext context(1);
  LoadOptions options{.scheme = kernels::WeightScheme::kF32, .parallel = {}};
  const auto whole = load_causal_model(folder.path(), *context, options);
  options.parallel = {1, 2, group.get(), nullptr};
  auto model = load_parallel_model(folder.path(), *context, options);
  ASSERT_TRUE(whole.ok() && model.ok()) << whole.status() << model.status();
  // Of three layers one stage has two, whichever: a block costs that rank so much memory.
  const CacheOptions cache{tensor::DType::kF32, 4};
  EXPECT_EQ((*model)->cache_block_bytes(cache), (*whole)->cache_block_bytes(cache) / 3 * 2);
  if (!(*model)->leads()) {
    EXPECT_TRUE((*model)->serve_steps().ok());
  }
}

TEST(ParallelModelTest, MemoryForTheCacheIsThatOfTheFullestStage) {
  gamelan::testing::run_ranks(RankMode::kThreads, 2, "counts_the_fullest_stages_blocks");
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
