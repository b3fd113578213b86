#include "infer/engine/perplexity.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "model_fixture.h"

namespace gamelan::infer {
namespace {

using ::testing::HasSubstr;
using testing::load_for_test;
using testing::Matrix;
using testing::read_expected;
using testing::run_in_chunks;
using testing::TestContext;
using Tokens = std::vector<text::TokenId>;

constexpr CacheOptions kCache = {tensor::DType::kF32, 4};

/// -log of the probability that row `row` of `logits` gives `token`.
double likelihood(const Matrix& logits, std::int64_t row, text::TokenId token) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < logits.columns; ++i) {
    sum += std::exp(static_cast<double>(logits.row(row)[i]));
  }
  return std::log(sum) - static_cast<double>(logits.row(row)[token]);
}

class PerplexityOfModels : public ::testing::TestWithParam<std::string> {};

TEST_P(PerplexityOfModels, IsThatOfTransformersLogits) {
  const TestContext context;
  const auto model = load_for_test(GetParam(), context);
  ASSERT_NE(model, nullptr);
  const Tokens tokens = read_expected(GetParam()).input_ids;
  const Matrix logits = testing::read_npy(testing::model_folder(GetParam()) + "/logits.npy");
  double sum = 0.0;
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    sum += likelihood(logits, static_cast<std::int64_t>(i - 1), tokens[i]);
  }
  const auto measured = measure_perplexity(*model, tokens, {.cache = kCache});
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_EQ(measured->tokens, static_cast<std::int64_t>(tokens.size()) - 1);
  const auto count = static_cast<double>(measured->tokens);
  EXPECT_NEAR(measured->negative_log_likelihood, sum, 2e-4 * count);  // two logits within 1e-4
  EXPECT_DOUBLE_EQ(measured->value(), std::exp(measured->negative_log_likelihood / count));
}

/// But llama_dynamic: how it rotates depends on the length, and the last token is not computed
/// here.
std::vector<std::string> names() {
  std::vector<std::string> all = testing::decoder_names();
  std::erase(all, "llama_dynamic");
  return all;
}

INSTANTIATE_TEST_SUITE_P(Decoders, PerplexityOfModels, ::testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

class PerplexityOfBloom : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(model_, nullptr);
    std::uint32_t state = 1;
    for (int i = 0; i < 23; ++i) {
      state = state * 1'664'525U + 1'013'904'223U;
      tokens_.push_back(static_cast<text::TokenId>((state >> 8) % 97));
    }
  }

  Perplexity measure(const PerplexityOptions& options) {
    const auto measured = measure_perplexity(*model_, tokens_, options);
    EXPECT_TRUE(measured.ok()) << measured.status();
    return measured.ok() ? *measured : Perplexity();
  }
  std::string refusal_of(const PerplexityOptions& options) {
    const auto measured = measure_perplexity(*model_, tokens_, options);
    EXPECT_EQ(measured.status().code(), base::StatusCode::kInvalidArgument);
    return std::string(measured.status().message());
  }

  TestContext context_;
  std::unique_ptr<CausalModel> model_ = load_for_test("bloom_12_heads", context_);
  Tokens tokens_;
};

TEST_F(PerplexityOfBloom, EachTokenCountsOnceInItsFirstWindow) {
  for (const std::int64_t stride : {1, 2, 5, 7}) {
    constexpr std::int64_t kWindow = 7;
    const auto count = static_cast<std::int64_t>(tokens_.size());
    double sum = 0.0;
    std::int64_t counted = 0;
    std::int64_t done = 0;
    for (std::int64_t begin = 0; done < count; begin += stride) {
      const std::int64_t end = std::min(begin + kWindow, count);
      const Tokens window(tokens_.begin() + begin, tokens_.begin() + end);
      const Matrix logits = run_in_chunks(*load_for_test("bloom_12_heads", context_), window, {});
      for (std::int64_t i = std::max(done, begin + 1); i < end; ++i, ++counted) {
        sum += likelihood(logits, i - begin - 1, tokens_[static_cast<std::size_t>(i)]);
      }
      done = end;
    }
    const Perplexity measured = measure({.window = kWindow, .stride = stride, .cache = kCache});
    EXPECT_EQ(measured.tokens, counted) << "stride " << stride;
    EXPECT_NEAR(measured.negative_log_likelihood, sum, 1e-5 * sum) << "stride " << stride;
  }
}

TEST_F(PerplexityOfBloom, TheStepsDoNotChangeIt) {
  const Perplexity whole = measure({.window = 11, .stride = 4, .cache = kCache});
  for (const std::int64_t step : {1, 3, 10, 11}) {
    const Perplexity measured =
        measure({.window = 11, .stride = 4, .step_tokens = step, .cache = kCache});
    EXPECT_EQ(measured.tokens, whole.tokens);
    EXPECT_DOUBLE_EQ(measured.negative_log_likelihood, whole.negative_log_likelihood)
        << "steps of " << step;
  }
}

TEST_F(PerplexityOfBloom, TellsHowFarItIs) {
  std::vector<std::int64_t> steps;
  const auto measured =
      measure_perplexity(*model_, tokens_, {.window = 10, .stride = 6, .cache = kCache},
                         [&steps](std::int64_t count) { steps.push_back(count); });
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_EQ(steps, (std::vector<std::int64_t>{10, 6, 6, 1}));
}

TEST_F(PerplexityOfBloom, RefusesWhatHasNoPerplexity) {
  EXPECT_THAT(refusal_of({.window = 1}), HasSubstr("window: expected 2"));
  EXPECT_THAT(refusal_of({.window = 8, .stride = 9}), HasSubstr("stride: expected 1 … 8"));
  EXPECT_THAT(refusal_of({.window = 8, .stride = -1}), HasSubstr("got -1"));
  EXPECT_THAT(refusal_of({.step_tokens = 0}), HasSubstr("step_tokens"));
  tokens_[5] = 97;
  EXPECT_THAT(refusal_of({}), HasSubstr("expected tokens 0 … 96, got 97 at index 5"));
  tokens_ = {3};
  EXPECT_THAT(refusal_of({}), HasSubstr("expected at least 2 tokens, got 1"));
}

TEST(PerplexityOfGpt2, RefusesAWindowBeyondItsPositions) {
  const TestContext context;
  for (const std::string& name : testing::decoder_names()) {
    const auto model = load_for_test(name, context);
    ASSERT_NE(model, nullptr);
    if (model->config().positions != io::Positions::kLearned) {
      continue;
    }
    const std::int64_t limit = model->config().max_positions;
    const auto measured =
        measure_perplexity(*model, Tokens{1, 2, 3}, {.window = limit + 1, .cache = kCache});
    EXPECT_EQ(measured.status().code(), base::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(measured.status().message()), HasSubstr(std::to_string(limit)));
  }
}

}  // namespace
}  // namespace gamelan::infer
