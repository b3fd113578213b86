#include "io/bert_config.h"

#include <gmock/gmock.h>

#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

BertConfig parse(std::string_view json) {
  const auto config = parse_bert_config(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(BertConfig());
}

std::string error_of(std::string_view json) {
  const auto config = parse_bert_config(json, "config.json");
  return config.ok() ? "no error" : std::string(config.status().message());
}

TEST(BertConfig, DefaultsAreThoseOfBertBase) {
  EXPECT_EQ(parse("{}"), BertConfig());
}

TEST(BertConfig, ReadsARealFile) {
  const BertConfig config = parse(R"({"_name_or_path": "x", "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.2, "gradient_checkpointing": false, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.3, "hidden_size": 384, "initializer_range": 0.02,
    "intermediate_size": 1536, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
    "model_type": "bert", "num_attention_heads": 12, "num_hidden_layers": 6, "pad_token_id": 0,
    "position_embedding_type": "absolute", "type_vocab_size": 2, "use_cache": true,
    "classifier_dropout": null, "vocab_size": 30522,
    "id2label": {"0": "neg", "1": "neutral", "2": "pos"},
    "label2id": {"neg": 0, "neutral": 1, "pos": 2}})");
  EXPECT_EQ(config.hidden_size, 384);
  EXPECT_EQ(config.num_hidden_layers, 6);
  EXPECT_EQ(config.hidden_dropout_prob, 0.3);
  EXPECT_EQ(config.attention_probs_dropout_prob, 0.2);
  EXPECT_EQ(config.classifier_dropout, std::nullopt);
  EXPECT_EQ(config.num_labels, 3);
  EXPECT_THAT(config.labels, ElementsAre("neg", "neutral", "pos"));
  EXPECT_EQ(label_name(config, 1), "neutral");
  EXPECT_EQ(label_name(BertConfig(), 1), "LABEL_1");
}

TEST(BertConfig, SurvivesTheRoundTrip) {
  BertConfig config = parse(R"({"hidden_size": 8, "num_attention_heads": 2, "vocab_size": 100,
    "classifier_dropout": 0.25, "id2label": {"0": "a", "1": "b"}, "layer_norm_eps": 1e-7})");
  EXPECT_EQ(parse(to_json(config)), config);
  BertConfig unnamed;
  unnamed.num_labels = 3;
  EXPECT_THAT(parse(to_json(unnamed)).labels, ElementsAre("LABEL_0", "LABEL_1", "LABEL_2"));
}

TEST(BertConfigBadInput, OtherModels) {
  EXPECT_THAT(
      error_of(R"({"model_type": "roberta"})"),
      HasSubstr("config.json: 'model_type': expected one of bert, got the string \"roberta\""));
  EXPECT_THAT(error_of(R"({"hidden_act": "mish"})"),
              HasSubstr("expected one of gelu, gelu_python"));
  EXPECT_THAT(error_of(R"({"position_embedding_type": "relative_key"})"),
              HasSubstr("expected one of absolute"));
  EXPECT_THAT(error_of(R"({"problem_type": "regression"})"),
              HasSubstr("expected one of single_label_classification"));
  EXPECT_THAT(error_of(R"({"is_decoder": true})"), HasSubstr("'is_decoder': expected false"));
}

TEST(BertConfigBadInput, Values) {
  EXPECT_THAT(error_of(R"({"hidden_size": "8"})"),
              HasSubstr("'hidden_size': expected a whole number from 1 to 16777216, got the string "
                        "\"8\""));
  EXPECT_THAT(error_of(R"({"hidden_size": 1.5})"), HasSubstr("got the number 1.5"));
  EXPECT_THAT(error_of(R"({"hidden_size": 0})"), HasSubstr("got the number 0"));
  EXPECT_THAT(error_of(R"({"hidden_size": 18446744073709551615})"), HasSubstr("got the number"));
  EXPECT_THAT(error_of(R"({"vocab_size": -1})"), HasSubstr("got the number -1"));
  EXPECT_THAT(error_of(R"({"hidden_dropout_prob": 1.5})"), HasSubstr("a number from 0 to 1"));
  EXPECT_THAT(error_of(R"({"hidden_size": 10, "num_attention_heads": 3})"),
              HasSubstr("'hidden_size' 10 is not a multiple of 'num_attention_heads' 3"));
  EXPECT_THAT(error_of(R"({"pad_token_id": 30522})"), HasSubstr("is not below 'vocab_size' 30522"));
}

TEST(BertConfigBadInput, Labels) {
  EXPECT_THAT(error_of(R"({"id2label": {"0": "a", "2": "b"}})"),
              HasSubstr("expected the keys \"0\" to \"1\", got \"2\""));
  EXPECT_THAT(error_of(R"({"id2label": {"0": "a", "00": "b"}})"), HasSubstr("class 1 is missing"));
  EXPECT_THAT(error_of(R"({"id2label": {"0": 1}})"),
              HasSubstr("expected a string, got the number"));
  EXPECT_THAT(error_of(R"({"id2label": []})"), HasSubstr("expected an object, got an array of 0"));
  EXPECT_THAT(error_of(R"({"id2label": {"0": "a", "1": "b"}, "num_labels": 3})"),
              HasSubstr("'num_labels' is 3, 'id2label' has 2"));
  EXPECT_THAT(error_of(R"({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1}})"),
              HasSubstr("'label2id' calls class 1 \"a\", 'id2label' calls it \"b\""));
  EXPECT_THAT(error_of(R"({"label2id": {"a": 7}})"), HasSubstr("a number from 0 to 1"));
}

TEST(BertConfigBadInput, Json) {
  EXPECT_THAT(error_of(""), HasSubstr("config.json: not valid JSON"));
  EXPECT_THAT(error_of("[]"), HasSubstr("config.json: expected an object, got an array of 0"));
  EXPECT_THAT(error_of("{\"a\": \"\xff\"}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of("{} {}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(std::string(1'000'000, '[')), HasSubstr("nested over 64 deep"));
  const TemporaryFolder folder;
  EXPECT_THAT(std::string(load_bert_config(folder.file("config.json")).status().message()),
              HasSubstr(folder.file("config.json")));
}

}  // namespace
}  // namespace gamelan::io
