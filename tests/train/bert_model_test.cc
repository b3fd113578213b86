#include "train/models/bert.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/huggingface_folder.h"
#include "io/weights.h"
#include "train/autocast.h"
#include "train/data/text_batch.h"
#include "train/models/bert_weights.h"
#include "train/models/packed_rows.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

using testing::HasSubstr;

io::BertConfig tiny_config(const std::string& activation = "gelu") {
  io::BertConfig config;
  config.vocab_size = 40;
  config.hidden_size = 32;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.intermediate_size = 64;
  config.max_position_embeddings = 16;
  config.hidden_act = activation;
  config.hidden_dropout_prob = 0;
  config.attention_probs_dropout_prob = 0;
  config.num_labels = 3;
  return config;
}

// Element i of the k-th parameter by name is 0.2 sin(0.7 i + 1.3 k), plus 1 in LayerNorm weights.
BertForSequenceClassification wave_model(const io::BertConfig& config) {
  BertForSequenceClassification model(config);
  std::map<std::string, at::Tensor> parameters;
  for (const auto& item : model->named_parameters()) {
    parameters[item.key()] = item.value();
  }
  const at::NoGradGuard no_grad;
  int k = 0;
  for (auto& [name, parameter] : parameters) {
    const double shift = name.ends_with("LayerNorm.weight") ? 1.0 : 0.0;
    float* element = parameter.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < parameter.numel(); ++i) {
      element[i] =
          static_cast<float>(0.2 * std::sin(0.7 * static_cast<double>(i) + 1.3 * k) + shift);
    }
    ++k;
  }
  return model;
}

// Four sequences of 5, 9, 1 and 3 tokens; the second is a pair.
TextBatch four_sequences(std::int64_t pad_to = 0) {
  std::vector<std::vector<std::int32_t>> tokens;
  std::int32_t n = 0;
  for (const int length : {5, 9, 1, 3}) {
    auto& ids = tokens.emplace_back();
    for (int j = 0; j < length; ++j) {
      ids.push_back((7 * n++ + 3) % 40);
    }
  }
  const std::vector<Sequence> sequences = {
      {tokens[0], 5, 0}, {tokens[1], 6, 2}, {tokens[2], 1, 1}, {tokens[3], 3, 2}};
  return collate(sequences, {.pad_to = pad_to});
}

// Logits, loss and gradients of transformers 5.23 (torch 2.15, fp32) on the same weights and
// tokens.
struct Golden {
  const char* activation;
  double loss;
  std::vector<double> logits;
  // Euclidean norms.
  std::map<std::string, double> gradients;
};

const std::vector<Golden>& golden() {
  static const std::vector<Golden> cases = {
      {"gelu",
       1.161562800,
       {-0.1677049, 0.3645559, 0.1086193, -0.2314810, 0.4246533, 0.0621075, 0.0069000, 0.2163162,
        0.2060575, -0.0428810, 0.2633325, 0.1695561},
       {{"bert.embeddings.word_embeddings.weight", 0.094426366},
        {"bert.embeddings.token_type_embeddings.weight", 0.025736434},
        {"bert.encoder.layer.0.attention.self.query.weight", 0.0010749801},
        {"bert.encoder.layer.1.output.dense.weight", 0.1125492},
        {"bert.pooler.dense.bias", 0.11090135},
        {"classifier.weight", 1.1805579}}},
      {"gelu_new",
       1.161572576,
       {-0.1676871, 0.3645409, 0.1086291, -0.2314843, 0.4246552, 0.0621070, 0.0069679, 0.2162468,
        0.2061169, -0.0428289, 0.2632830, 0.1695949},
       {{"bert.encoder.layer.0.attention.self.query.weight", 0.0010755521},
        {"bert.encoder.layer.1.output.dense.weight", 0.11254485}}},
      {"relu",
       1.158981562,
       {-0.1696243, 0.3662086, 0.1075058, -0.2315510, 0.4245966, 0.0622812, -0.0090827, 0.2324463,
        0.1924389, -0.0572069, 0.2766514, 0.1594398},
       {{"bert.encoder.layer.0.attention.self.query.weight", 0.00078535697},
        {"bert.encoder.layer.1.output.dense.weight", 0.11586704}}},
  };
  return cases;
}

TEST(BertModelTest, LogitsLossAndGradientsEqualTransformers) {
  for (const Golden& expected : golden()) {
    for (const std::int64_t pad_to : {0, 9, 16}) {
      SCOPED_TRACE(std::string(expected.activation) + ", padded to " + std::to_string(pad_to));
      BertForSequenceClassification model = wave_model(tiny_config(expected.activation));
      const ClassifierOutput output = model->forward(four_sequences(pad_to));
      EXPECT_NEAR(output.loss.item<double>(), expected.loss, 1e-6);
      const at::Tensor logits = output.logits.flatten();
      for (std::size_t i = 0; i < expected.logits.size(); ++i) {
        EXPECT_NEAR(logits[i].item<double>(), expected.logits[i], 2e-6) << i;
      }
      output.loss.backward();
      const auto parameters = model->named_parameters();
      for (const auto& [name, norm] : expected.gradients) {
        EXPECT_NEAR(parameters[name].grad().norm().item<double>(), norm, 1e-4 * norm) << name;
      }
    }
  }
}

// The pretrained MiniLM of `make demo`, when it has been fetched.
TEST(BertModelTest, MiniLmEqualsTransformers) {
  const char* cache = std::getenv("GAMELAN_CACHE");
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder =
      (cache != nullptr ? std::string(cache)
       : xdg != nullptr ? std::string(xdg) + "/gamelan"
                        : std::string(home ? home : "") + "/.cache/gamelan") +
      "/demo-1/minilm";
  if (!std::filesystem::exists(folder + "/model.safetensors")) {
    GTEST_SKIP() << "missing: " << folder
                 << "/model.safetensors (tools/fetch_demo_data.sh gets it)";
  }
  BertForSequenceClassification model(value_or_throw(io::load_bert_config_of_folder(folder)));
  const BertLoadReport report =
      load_bert_weights(*model, value_or_throw(io::open_weights(folder)), 1);
  EXPECT_THAT(report.new_weights, testing::ElementsAre("classifier.weight", "classifier.bias"));
  EXPECT_THAT(report.unused, testing::IsEmpty());
  at::Tensor classifier = model->named_parameters()["classifier.weight"];
  {
    const at::NoGradGuard no_grad;
    for (std::int64_t i = 0; i < classifier.numel(); ++i) {
      classifier.view(-1)[i] = static_cast<float>(0.2 * std::sin(0.7 * static_cast<double>(i)));
    }
  }
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<Sequence> sequences;
  std::int32_t n = 0;
  for (const int length : {12, 30, 200}) {
    auto& ids = tokens.emplace_back();
    for (int j = 0; j < length; ++j) {
      ids.push_back((7919 * n++ + 101) % 30522);
    }
  }
  for (const auto& ids : tokens) {
    sequences.push_back({ids, ids.size(), 0});
  }
  model->eval();
  const at::NoGradGuard no_grad;
  const at::Tensor logits = model->forward(collate(sequences)).logits;
  const at::Tensor expected =
      at::tensor({0.0849632, 0.2316823, 0.0810455, 0.1118075, 0.0841416, 0.2534830}, at::kFloat);
  EXPECT_LT((logits.flatten() - expected).abs().max().item<double>(), 1e-5);
}

TEST(BertModelTest, EqualLengthsNeedNoMaskAndGiveTheSame) {
  BertForSequenceClassification model = wave_model(tiny_config());
  const std::vector<std::int32_t> ids = {3, 1, 4, 1, 5};
  const std::vector<Sequence> twice = {{ids, 5, 0}, {ids, 5, 0}};
  const TextBatch equal = collate(twice);
  EXPECT_FALSE(attention_mask(equal.layout, at::kFloat).defined());
  const at::Tensor logits = model->forward(equal).logits;
  EXPECT_TRUE(at::allclose(logits[0], logits[1], 1e-5, 1e-6));
  const std::vector<std::int32_t> longer = {1, 2, 3, 4, 5, 6, 7};
  const std::vector<Sequence> mixed = {{ids, 5, 0}, {longer, 7, 0}};
  EXPECT_TRUE(at::allclose(model->forward(collate(mixed)).logits[0], logits[0], 1e-5, 1e-6));
}

TEST(BertModelTest, Bf16AutocastIsCloseAndLeavesWeightsAlone) {
  BertForSequenceClassification model = wave_model(tiny_config());
  const TextBatch batch = four_sequences();
  const at::Tensor exact = model->forward(batch).logits;
  at::Tensor rounded;
  {
    const AutocastScope autocast(true);
    rounded = model->forward(batch).logits;
  }
  EXPECT_EQ(rounded.scalar_type(), at::kFloat);
  EXPECT_FALSE(at::equal(rounded, exact));
  EXPECT_TRUE(at::allclose(rounded, exact, 0.0, 0.05));
  EXPECT_TRUE(at::equal(model->forward(batch).logits, exact));
}

TEST(BertModelTest, DropoutActsInTrainingAlone) {
  io::BertConfig config = tiny_config();
  config.hidden_dropout_prob = 0.5;
  config.attention_probs_dropout_prob = 0.5;
  BertForSequenceClassification model = wave_model(config);
  const TextBatch batch = four_sequences();
  at::manual_seed(1);
  EXPECT_FALSE(at::equal(model->forward(batch).logits, model->forward(batch).logits));
  model->eval();
  EXPECT_NEAR(model->forward(batch).loss.item<double>(), golden()[0].loss, 1e-6);
}

TEST(BertModelTest, RefusesWhatCannotBe) {
  io::BertConfig config = tiny_config();
  config.num_attention_heads = 5;
  EXPECT_THROW(BertForSequenceClassification{config}, c10::ValueError);
  config = tiny_config("swiglu");
  EXPECT_THROW(BertForSequenceClassification{config}, c10::ValueError);

  BertForSequenceClassification model = wave_model(tiny_config());
  const std::vector<std::int32_t> long_ids(17, 1);
  try {
    model->forward(collate(std::vector<Sequence>{{long_ids, 17, 0}}));
    ADD_FAILURE() << "expected an exception";
  } catch (const c10::ValueError& error) {
    EXPECT_THAT(error.what(), HasSubstr("expected at most 16 tokens a sequence "
                                        "(max_position_embeddings), got 17"));
  }
  const std::vector<std::int32_t> unknown = {1, 40};
  EXPECT_ANY_THROW(model->forward(collate(std::vector<Sequence>{{unknown, 2, 0}})));
  const std::vector<std::int32_t> ids = {1, 2};
  EXPECT_ANY_THROW(model->forward(collate(std::vector<Sequence>{{ids, 2, 3}})));
  EXPECT_ANY_THROW(model->forward(TextBatch{}));
}

TEST(TextBatchTest, CollatePacksAndPads) {
  const std::vector<std::int32_t> a = {1, 2, 3};
  const std::vector<std::int32_t> b = {4, 5};
  const std::vector<Sequence> sequences = {{a, 2, 7}, {b, 2, 9}};
  const TextBatch packed = collate(sequences);
  EXPECT_TRUE(at::equal(packed.input_ids, at::tensor({1, 2, 3, 4, 5}, at::kLong)));
  EXPECT_TRUE(at::equal(packed.token_type_ids, at::tensor({0, 0, 1, 0, 0}, at::kLong)));
  EXPECT_TRUE(at::equal(packed.labels, at::tensor({7, 9}, at::kLong)));
  EXPECT_THAT(packed.layout.offsets, testing::ElementsAre(0, 3, 5));
  EXPECT_FALSE(packed.layout.padded());
  EXPECT_FALSE(packed.layout.uniform());
  const TextBatch padded = collate(sequences, {.pad_to = 4, .pad_token_id = 8});
  EXPECT_TRUE(at::equal(padded.input_ids, at::tensor({1, 2, 3, 8, 4, 5, 8, 8}, at::kLong)));
  EXPECT_TRUE(padded.layout.padded());
  EXPECT_TRUE(padded.layout.uniform());
  EXPECT_THROW(collate(sequences, {.pad_to = 2}), c10::ValueError);
  EXPECT_THROW(collate(std::vector<Sequence>{{}}), c10::ValueError);
}

TEST(PackedRowsTest, PaddingAndItsGradientAreInverse) {
  PackedLayout layout;
  for (const int length : {2, 4, 1}) {
    layout.append(length, length);
  }
  const at::Tensor rows = at::arange(14, at::kDouble).view({7, 2}).requires_grad_();
  const at::Tensor padded = pad_rows(rows, layout);
  EXPECT_EQ(padded.sizes(), at::IntArrayRef({3, 4, 2}));
  EXPECT_EQ(padded[0][1][1].item<double>(), 3);
  EXPECT_EQ(padded[0][2][0].item<double>(), 0);
  EXPECT_EQ(padded[2][0][0].item<double>(), 12);
  EXPECT_TRUE(at::equal(unpad_rows(padded, layout), rows));
  const at::Tensor weight = at::rand({3, 4, 2}, at::kDouble);
  (padded * weight).sum().backward();
  EXPECT_TRUE(at::equal(rows.grad(), unpad_rows(weight, layout)));
  EXPECT_TRUE(at::equal(position_ids(layout), at::tensor({0, 1, 0, 1, 2, 3, 0}, at::kLong)));
  EXPECT_TRUE(at::equal(first_rows(layout), at::tensor({0, 2, 6}, at::kLong)));
}

}  // namespace
}  // namespace gamelan::train
