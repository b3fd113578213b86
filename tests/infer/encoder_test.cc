// BERT against transformers' outputs (make_golden.py).
#include "infer/model/encoder_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/infer/model_fixture.h"

namespace gamelan::infer {
namespace {

using ::testing::HasSubstr;
using testing::Matrix;
using testing::TestContext;

std::unique_ptr<EncoderModel> load(const std::string& name, const TestContext& context) {
  auto model = load_encoder_model(testing::model_folder(name), *context,
                                  {.scheme = kernels::WeightScheme::kF32, .parallel = {}});
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

TEST(EncoderTest, HiddenStatesAreTransformers) {
  const TestContext context;
  for (const char* name : {"bert", "bert_classifier"}) {
    const auto model = load(name, context);
    ASSERT_NE(model, nullptr);
    const testing::Expected expected = testing::read_expected(name);
    const Matrix golden = testing::read_npy(testing::model_folder(name) + "/logits.npy");
    Matrix hidden(golden.rows, golden.columns);
    const std::vector<std::int64_t> offsets = {0, golden.rows};
    ASSERT_TRUE(model->encode({expected.input_ids, expected.types, offsets}, hidden.view()).ok());
    EXPECT_LT(testing::max_difference(hidden, golden), 2e-5) << name;
  }
}

TEST(EncoderTest, SequencesOfABatchDoNotMeet) {
  const TestContext context;
  const auto model = load("bert", context);
  ASSERT_NE(model, nullptr);
  const auto ids = testing::read_expected("bert").input_ids;
  const auto count = static_cast<std::int64_t>(ids.size());
  std::vector<text::TokenId> tokens(ids.begin(), ids.begin() + 3);
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  Matrix together(count + 3, model->config().hidden_size);
  ASSERT_TRUE(
      model->encode({tokens, {}, std::vector<std::int64_t>{0, 3, count + 3}}, together.view())
          .ok());
  Matrix alone(count, model->config().hidden_size);
  ASSERT_TRUE(model->encode({ids, {}, std::vector<std::int64_t>{0, count}}, alone.view()).ok());
  EXPECT_TRUE(std::equal(alone.values.begin(), alone.values.end(), together.row(3)));
}

TEST(EncoderTest, PoolsMeansAndFirstTokens) {
  const TestContext context;
  const auto model = load("bert", context);
  ASSERT_NE(model, nullptr);
  const auto ids = testing::read_expected("bert").input_ids;
  const auto count = static_cast<std::int64_t>(ids.size());
  const std::int64_t width = model->config().hidden_size;
  const std::vector<std::int64_t> offsets = {0, count};
  Matrix hidden(count, width);
  ASSERT_TRUE(model->encode({ids, {}, offsets}, hidden.view()).ok());
  Matrix first(1, width);
  ASSERT_TRUE(model->embed({ids, {}, offsets}, Pooling::kCls, false, first.view()).ok());
  EXPECT_TRUE(std::equal(first.values.begin(), first.values.end(), hidden.row(0)));
  Matrix mean(1, width);
  ASSERT_TRUE(model->embed({ids, {}, offsets}, Pooling::kMean, true, mean.view()).ok());
  std::vector<double> expected(static_cast<std::size_t>(width));
  double squares = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    auto& sum = expected[static_cast<std::size_t>(i)];
    for (std::int64_t row = 0; row < count; ++row) {
      sum += hidden.row(row)[i];
    }
    squares += sum * sum;
  }
  for (std::int64_t i = 0; i < width; ++i) {
    EXPECT_NEAR(mean.values[static_cast<std::size_t>(i)],
                expected[static_cast<std::size_t>(i)] / std::sqrt(squares), 1e-5);
  }
}

TEST(EncoderTest, ClassifiesAsTransformersDoes) {
  const TestContext context;
  const auto model = load("bert_classifier", context);
  ASSERT_NE(model, nullptr);
  const testing::Expected expected = testing::read_expected("bert_classifier");
  const std::vector<std::int64_t> offsets = {0,
                                             static_cast<std::int64_t>(expected.input_ids.size())};
  Matrix logits(1, 3);
  ASSERT_TRUE(model->classify({expected.input_ids, expected.types, offsets}, logits.view()).ok());
  ASSERT_EQ(expected.classes.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(logits.values[i], expected.classes[i], 2e-5);
  }
}

TEST(EncoderTest, BadBatchesAreRefused) {
  const TestContext context;
  const auto model = load("bert", context);
  ASSERT_NE(model, nullptr);
  const auto error = [&](const std::vector<text::TokenId>& tokens,
                         const std::vector<text::TokenId>& types,
                         const std::vector<std::int64_t>& offsets) {
    Matrix hidden(static_cast<std::int64_t>(tokens.size()), model->config().hidden_size);
    return std::string(model->encode({tokens, types, offsets}, hidden.view()).message());
  };
  EXPECT_EQ(error({1, 2}, {}, {0, 2}), "");
  EXPECT_EQ(error({}, {}, {0}), "");
  EXPECT_THAT(error({1, 97}, {}, {0, 2}), HasSubstr("token 97, expected 0 … 96"));
  EXPECT_THAT(error({1, 2}, {0, 2}, {0, 2}), HasSubstr("token type 2, expected 0 … 1"));
  EXPECT_THAT(error({1, 2}, {}, {0, 1}), HasSubstr("do not fit"));
  EXPECT_THAT(error({1, 2}, {}, {0, 0, 2}), HasSubstr("sequence 0 has 0 tokens"));
  EXPECT_THAT(error(std::vector<text::TokenId>(33, 1), {}, {0, 33}),
              HasSubstr("33 tokens, expected 1 … 32"));
  Matrix logits(1, 3);
  EXPECT_THAT(
      std::string(
          model
              ->classify({std::vector<text::TokenId>{1}, {}, std::vector<std::int64_t>{0, 1}},
                         logits.view())
              .message()),
      HasSubstr("classifier.weight"));
}

TEST(EncoderTest, ADecoderIsRefused) {
  const TestContext context;
  const auto model = load_encoder_model(testing::model_folder("gpt2"), *context, {});
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("gpt2"));
}

}  // namespace
}  // namespace gamelan::infer
