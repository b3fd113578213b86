#include "train/models/bert_weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io/weights.h"
#include "io/safetensors_writer.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

io::BertConfig tiny_config() {
  io::BertConfig config;
  config.vocab_size = 40;
  config.hidden_size = 16;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.intermediate_size = 32;
  config.max_position_embeddings = 8;
  return config;
}

class BertWeightsTest : public testing::Test {
 protected:
  BertWeightsTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gamelan-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~BertWeightsTest() override { std::filesystem::remove_all(folder_); }

  std::string file() const { return folder_ + "/model.safetensors"; }

  io::Weights open() { return value_or_throw(io::open_weights(folder_)); }

  void write(const std::map<std::string, at::Tensor>& tensors) {
    std::vector<io::SafetensorsView> views;
    for (const auto& [name, tensor] : tensors) {
      views.push_back({name,
                       dtype_of(tensor.scalar_type()),
                       tensor.sizes().vec(),
                       {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}});
    }
    throw_if_error(io::save_safetensors(file(), views));
  }

  // The parameters of a model drawn from `seed`.
  static std::map<std::string, at::Tensor> drawn(std::uint64_t seed) {
    BertForSequenceClassification model(tiny_config());
    initialize_bert(*model, seed);
    std::map<std::string, at::Tensor> tensors;
    for (const auto& item : model->named_parameters()) {
      tensors[item.key()] = item.value().detach().clone();
    }
    return tensors;
  }

  // What load_bert_weights throws.
  std::string load_error() {
    BertForSequenceClassification model(tiny_config());
    try {
      load_bert_weights(*model, open(), 1);
    } catch (const c10::ValueError& error) {
      return error.what_without_backtrace();
    }
    return "";
  }

  std::string folder_;
};

TEST_F(BertWeightsTest, InitialisesAsHuggingFace) {
  const auto tensors = drawn(3);
  const at::Tensor words = tensors.at("bert.embeddings.word_embeddings.weight");
  EXPECT_EQ(words[0].abs().max().item<double>(), 0);
  EXPECT_NEAR(words.std().item<double>(), 0.02, 0.003);
  EXPECT_EQ(tensors.at("bert.embeddings.LayerNorm.weight").min().item<double>(), 1);
  EXPECT_EQ(tensors.at("bert.encoder.layer.1.output.dense.bias").abs().max().item<double>(), 0);
  EXPECT_TRUE(at::equal(drawn(3).at("classifier.weight"), tensors.at("classifier.weight")));
  EXPECT_FALSE(at::equal(drawn(4).at("classifier.weight"), tensors.at("classifier.weight")));
}

TEST_F(BertWeightsTest, SavesAndLoadsEveryParameter) {
  BertForSequenceClassification saved(tiny_config());
  initialize_bert(*saved, 1);
  save_bert_weights(*saved, file());
  BertForSequenceClassification loaded(tiny_config());
  initialize_bert(*loaded, 2);
  const BertLoadReport report = load_bert_weights(*loaded, open(), 2);
  EXPECT_THAT(report.new_weights, IsEmpty());
  EXPECT_THAT(report.unused, IsEmpty());
  const auto expected = saved->named_parameters();
  EXPECT_TRUE(expected.contains("bert.encoder.layer.0.attention.self.query.weight"));
  for (const auto& item : loaded->named_parameters()) {
    EXPECT_TRUE(at::equal(item.value(), expected[item.key()])) << item.key();
  }
}

TEST_F(BertWeightsTest, LoadsBaseCheckpointsOldNamesAndOtherTypes) {
  std::map<std::string, at::Tensor> base;
  for (const auto& [name, tensor] : drawn(5)) {
    if (name.starts_with("classifier.") || name.starts_with("bert.pooler.")) {
      continue;
    }
    std::string old = name.substr(5);
    if (const auto at = old.find("LayerNorm.weight"); at != old.npos) {
      old.replace(at, 16, "LayerNorm.gamma");
    } else if (const auto bias = old.find("LayerNorm.bias"); bias != old.npos) {
      old.replace(bias, 14, "LayerNorm.beta");
    }
    base[old] = old.find("query") != old.npos ? tensor.to(at::kBFloat16) : tensor;
  }
  base["embeddings.position_ids"] = at::arange(8).view({1, 8});
  base["cls.predictions.bias"] = at::zeros({40});
  write(base);
  BertForSequenceClassification model(tiny_config());
  const BertLoadReport report = load_bert_weights(*model, open(), 7);
  EXPECT_THAT(report.new_weights,
              UnorderedElementsAre("classifier.weight", "classifier.bias",
                                   "bert.pooler.dense.weight", "bert.pooler.dense.bias"));
  EXPECT_THAT(report.unused, UnorderedElementsAre("cls.predictions.bias"));
  const auto expected = drawn(5);
  const auto loaded = model->named_parameters();
  EXPECT_TRUE(at::equal(loaded["bert.encoder.layer.1.output.LayerNorm.weight"],
                        expected.at("bert.encoder.layer.1.output.LayerNorm.weight")));
  const std::string query = "bert.encoder.layer.0.attention.self.query.weight";
  EXPECT_TRUE(at::equal(loaded[query], expected.at(query).to(at::kBFloat16).to(at::kFloat)));
  EXPECT_NEAR(loaded["classifier.weight"].std().item<double>(), 0.02, 0.01);
}

TEST_F(BertWeightsTest, RefusesOtherShapesTypesAndMissingTensors) {
  auto tensors = drawn(1);
  tensors["classifier.weight"] = at::zeros({3, 16});
  write(tensors);
  EXPECT_THAT(load_error(), HasSubstr("tensor 'classifier.weight' has shape [3, 16], expected [2, "
                                      "16] for classifier.weight; the first size is the number of "
                                      "labels"));
  tensors = drawn(1);
  tensors["bert.embeddings.position_embeddings.weight"] = at::zeros({9, 16});
  write(tensors);
  EXPECT_THAT(load_error(), HasSubstr("has shape [9, 16], expected [8, 16]"));
  EXPECT_THAT(load_error(), HasSubstr(file()));

  tensors = drawn(1);
  tensors["bert.pooler.dense.bias"] = at::zeros({16}, at::kLong);
  write(tensors);
  EXPECT_THAT(load_error(), HasSubstr("holds i64, expected floating-point numbers"));

  tensors = drawn(1);
  tensors.erase("bert.encoder.layer.1.intermediate.dense.weight");
  tensors.erase("bert.embeddings.word_embeddings.weight");
  write(tensors);
  EXPECT_THAT(load_error(), HasSubstr("2 of 41 tensors of the model are missing: "));
  EXPECT_THAT(load_error(), HasSubstr("bert.embeddings.word_embeddings.weight"));
}

TEST_F(BertWeightsTest, AFailedLoadChangesNothing) {
  auto tensors = drawn(1);
  tensors.erase("bert.encoder.layer.1.output.dense.weight");
  write(tensors);
  BertForSequenceClassification model(tiny_config());
  initialize_bert(*model, 9);
  EXPECT_THROW(load_bert_weights(*model, open(), 1), c10::ValueError);
  const auto expected = drawn(9);
  for (const auto& item : model->named_parameters()) {
    EXPECT_TRUE(at::equal(item.value(), expected.at(item.key()))) << item.key();
  }
}

}  // namespace
}  // namespace gamelan::train
