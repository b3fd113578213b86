// The engine over real arithmetic: the tiny models of make_golden.py.

#include <gtest/gtest.h>

#include "fake_model.h"
#include "infer/engine/engine.h"
#include "model_fixture.h"

namespace gamelan::infer {
namespace {

using testing::load_for_test;
using testing::read_expected;
using testing::run_all;
using testing::TestContext;

class EngineModel : public ::testing::TestWithParam<std::string> {};

EngineOptions options_of(const CausalModel& model, std::int64_t blocks, int budget) {
  EngineOptions options;
  options.cache = {tensor::DType::kF32, 4};
  options.cache_bytes = model.cache_block_bytes(options.cache) * static_cast<std::size_t>(blocks);
  options.max_step_tokens = budget;
  return options;
}

Request greedy(const testing::Expected& expected) {
  Request request;
  request.prompt = expected.input_ids;
  request.max_new_tokens = static_cast<int>(expected.greedy.size());
  request.end_tokens.emplace();
  return request;
}

/// Many copies of the text, each with another beginning of it as the prompt, cut into steps,
/// sharing what they can and losing their blocks to each other: all say what transformers says.
TEST_P(EngineModel, ContinuesAsTransformersDoes) {
  const TestContext context;
  const auto model = load_for_test(GetParam(), context);
  ASSERT_NE(model, nullptr);
  const testing::Expected expected = read_expected(GetParam());
  std::vector<Request> requests;
  for (std::size_t given = 0; given < 12; ++given) {
    requests.push_back(greedy(expected));
    Request& request = requests.back();
    request.prompt.insert(request.prompt.end(), expected.greedy.begin(),
                          expected.greedy.begin() + static_cast<std::ptrdiff_t>(given));
    request.max_new_tokens -= static_cast<int>(given);
    request.lookup_tokens = given % 2 == 0 ? 0 : 3;
  }
  // Where a rotation depends on the length, how a text was cut shows (docs/inference.md).
  const bool depends = GetParam() == "llama_dynamic" || GetParam() == "llama_longrope";
  const auto engine =
      Engine::create(*model, options_of(*model, depends ? 400 : 24, depends ? 512 : 10));
  ASSERT_TRUE(engine.ok()) << engine.status();
  if (depends) {
    requests.resize(1);
  }
  const auto texts = run_all(**engine, requests);
  for (std::size_t given = 0; given < requests.size(); ++given) {
    EXPECT_EQ(texts[given][0], std::vector<text::TokenId>(
                                   expected.greedy.begin() + static_cast<std::ptrdiff_t>(given),
                                   expected.greedy.end()))
        << given;
  }
  EXPECT_EQ((*engine)->statistics().free_blocks, (*engine)->statistics().cache_blocks);
}

INSTANTIATE_TEST_SUITE_P(Models, EngineModel, ::testing::ValuesIn(testing::decoder_names()),
                         [](const auto& info) { return info.param; });

TEST(EngineDraft, SaysWhatTheModelSaysWhateverTheDraftSays) {
  const TestContext context;
  const auto model = load_for_test("llama", context);
  const auto other = load_for_test("mistral", context);  // of the same vocabulary
  ASSERT_TRUE(model != nullptr && other != nullptr);
  const testing::Expected expected = read_expected("llama");
  for (CausalModel* draft : {other.get()}) {
    const auto engine = Engine::create(*model, options_of(*model, 60, 64), draft);
    ASSERT_TRUE(engine.ok()) << engine.status();
    Request request = greedy(expected);
    request.draft_tokens = 3;
    EXPECT_EQ(run_all(**engine, {request})[0][0], expected.greedy);
    EXPECT_GT((*engine)->statistics().proposed_tokens, 0U);
  }
}

}  // namespace
}  // namespace gamelan::infer
