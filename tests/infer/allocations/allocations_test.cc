// What a step asks of the heap: of the model nothing, of the engine what it hands out.
#include <gtest/gtest.h>

#include <memory>

#include "infer/engine/engine.h"
#include "tests/infer/allocations/counting_new.h"
#include "tests/infer/fake_model.h"
#include "tests/infer/model_fixture.h"

namespace gamelan::infer {
namespace {

using gamelan::testing::allocations;
using testing::Matrix;
using testing::TestContext;

constexpr std::int32_t kBlockTokens = 4;
constexpr std::int32_t kTexts = 3;
constexpr std::int32_t kBlocksEach = 10;  // for 40 tokens
constexpr std::int32_t kPrompt = 9;

/// A step that gives `tokens` more to each of the texts, which have `position` so far.
StepPlan step_of(std::int32_t tokens, std::int32_t position) {
  StepPlan plan;
  for (std::int32_t text = 0; text < kTexts; ++text) {
    const auto first = static_cast<std::int32_t>(plan.blocks.size());
    for (std::int32_t block = 0; block * kBlockTokens < position + tokens; ++block) {
      plan.blocks.push_back(text * kBlocksEach + block);
    }
    plan.sequences.push_back(
        {tokens, position, 1, first, static_cast<std::int32_t>(plan.blocks.size()) - first});
    for (std::int32_t i = 0; i < tokens; ++i) {
      plan.tokens.push_back((position + i + 7 * text) % 97);
    }
  }
  return plan;
}

TEST(CountingNew, Counts) {
  const std::int64_t before = allocations();
  auto number = std::make_unique<std::vector<int>>(3);
  EXPECT_EQ(allocations() - before, 2);
  number->resize(1000);
  EXPECT_EQ(allocations() - before, 3);
}

class StepAllocations : public ::testing::TestWithParam<std::string> {};

TEST_P(StepAllocations, AreNoneOnceWarm) {
  for (const int threads : {1, 2}) {
    const TestContext context(threads);
    for (const kernels::WeightScheme scheme :
         {kernels::WeightScheme::kF32, kernels::WeightScheme::kBF16, kernels::WeightScheme::kF16,
          kernels::WeightScheme::kInt8, kernels::WeightScheme::kInt8Dynamic,
          kernels::WeightScheme::kInt4}) {
      const auto model =
          testing::load_for_test(GetParam(), context, {.scheme = scheme, .parallel = {}});
      ASSERT_NE(model, nullptr);
      ASSERT_TRUE(
          model->create_cache({tensor::DType::kI8, kBlockTokens}, kTexts * kBlocksEach).ok());
      Matrix logits(kTexts, model->config().vocab_size);
      ASSERT_TRUE(model->forward(step_of(kPrompt, 0), logits.view()).ok());
      ASSERT_TRUE(model->forward(step_of(1, kPrompt), logits.view()).ok());
      for (std::int32_t position = kPrompt + 1; position < kBlocksEach * kBlockTokens; ++position) {
        const StepPlan plan = step_of(1, position);
        const std::int64_t before = allocations();
        const base::Status status = model->forward(plan, logits.view());
        const std::int64_t after = allocations();
        ASSERT_TRUE(status.ok()) << status;
        ASSERT_EQ(after - before, 0)
            << kernels::name_of(scheme) << ", " << threads << " threads, position " << position;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, StepAllocations,
                         ::testing::Values("bloom_5_heads", "bloom_post_norm", "gpt2", "gpt_neox",
                                           "opt_projected", "llama", "mistral"),
                         [](const auto& info) { return info.param; });

/// Requests that decode side by side, greedily and drawn, with everything that a plain one may ask
/// for.
std::vector<Request> plain_requests() {
  std::vector<Request> requests(4);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Request& request = requests[i];
    request.prompt = testing::some_tokens(5 + static_cast<std::int64_t>(i), i + 1, 97);
    request.max_new_tokens = 40;
    request.min_new_tokens = 40;
    request.bad_words = {{1, 2}};
    request.stop_words = {{95, 96, 95, 96}};
    request.sampling.seed = i;
    request.sampling.temperature = i < 2 ? 0.0 : 0.9;
    request.sampling.top_k = i == 2 ? 20 : 0;
    request.sampling.top_p = i == 3 ? 0.9 : 1.0;
  }
  return requests;
}

/// The events' list and the tokens of each event: that is all, where no block becomes full that
/// others could find.
TEST(EngineAllocations, AreTheEventsAlone) {
  const TestContext context;
  const auto model = testing::load_for_test("llama", context);
  ASSERT_NE(model, nullptr);
  for (const bool sharing : {false, true}) {
    EngineOptions options;
    options.cache = {tensor::DType::kF32, 16};
    options.cache_bytes = model->cache_block_bytes(options.cache) * 20;
    options.prefix_sharing = sharing;
    const auto engine = Engine::create(*model, options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    for (Request& request : plain_requests()) {
      ASSERT_TRUE((*engine)->submit(std::move(request)).ok());
    }
    ASSERT_TRUE((*engine)->step().ok());  // the prompts
    ASSERT_TRUE((*engine)->step().ok());
    int counted = 0;
    for (int step = 2; step < 39; ++step) {
      const std::int64_t before = allocations();
      const auto events = (*engine)->step();
      const std::int64_t after = allocations();
      ASSERT_TRUE(events.ok()) << events.status();
      // Prompts of 5 … 8 tokens: a text's block is full when it has 16 or 32.
      const bool publishes = sharing && (step + 8) % 16 < 4;
      if (!publishes) {
        EXPECT_EQ(after - before, 1 + static_cast<std::int64_t>(events->size())) << step;
        ++counted;
      }
    }
    EXPECT_GT(counted, 15);
  }
}

}  // namespace
}  // namespace gamelan::infer
