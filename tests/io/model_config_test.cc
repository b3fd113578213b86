#include "io/model_config.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>

#include "io/json_file.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string_view name_of_activation(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_new";
    case Activation::kRelu:
      return "relu";
    case Activation::kSilu:
      break;
  }
  return "silu";
}

/// The part of a config that transformers states as well, in the form of the golden file.
json shown(const ModelConfig& c) {
  json out = {{"vocab_size", c.vocab_size},
              {"hidden_size", c.hidden_size},
              {"num_layers", c.num_layers},
              {"num_heads", c.num_heads},
              {"num_kv_heads", c.num_kv_heads},
              {"head_dim", c.head_dim},
              {"intermediate_size", c.intermediate_size},
              {"embedding_size", c.embedding_size},
              {"max_positions", c.max_positions},
              {"norm_eps", c.norm_eps},
              {"activation", name_of_activation(c.activation)},
              {"tied_embeddings", c.tied_embeddings},
              {"bos", nullptr},
              {"pad", nullptr},
              {"eos", nullptr},
              {"dtype", nullptr},
              {"class_name", c.class_name},
              {"num_labels", c.num_labels},
              {"sliding_window", c.sliding_window},
              {"parallel_residual", c.parallel_residual},
              {"qkv_bias", c.qkv_bias},
              {"norm_before", c.norm_before},
              {"norm_affine", c.norm_affine},
              {"final_norm", c.final_norm}};
  if (c.bos_token_id) {
    out["bos"] = *c.bos_token_id;
  }
  if (c.pad_token_id) {
    out["pad"] = *c.pad_token_id;
  }
  if (c.eos_token_ids.size() == 1) {
    out["eos"] = c.eos_token_ids[0];
  } else if (!c.eos_token_ids.empty()) {
    out["eos"] = c.eos_token_ids;
  }
  if (c.dtype) {
    out["dtype"] = *c.dtype == tensor::DType::kF32   ? "float32"
                   : *c.dtype == tensor::DType::kF16 ? "float16"
                                                     : "bfloat16";
  }
  return out;
}

void expect_rope(const ModelConfig& config, const json& expected) {
  EXPECT_EQ(name_of(config.rope.kind), expected["kind"].get<std::string>());
  EXPECT_EQ(config.rope.theta, expected["theta"].get<double>());
  for (const json& at : expected["frequencies"]) {
    const RopeFrequencies got =
        rope_frequencies(config.rope, config.max_positions, at[0].get<std::int64_t>());
    EXPECT_NEAR(got.attention_factor, at[1].get<double>(), 1e-9);
    ASSERT_EQ(got.inverse.size(), at[2].get<std::size_t>());
    const json& values = at[3];
    for (std::size_t i = 0; i < values.size(); ++i) {
      // The golden values stand for the ends when there are more than eight.
      const std::size_t place =
          got.inverse.size() > values.size() && i >= 3 ? got.inverse.size() - 6 + i : i;
      const double want = values[i].get<double>();
      // transformers computes in f32; the exponent of a power loses some digits more.
      EXPECT_NEAR(got.inverse[place], want, 4e-6 * std::abs(want)) << at[0] << " #" << place;
    }
  }
}

TEST(ModelConfig, GivesWhatTransformersGives) {
  std::ifstream file(std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/model_config.jsonl");
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    SCOPED_TRACE(line);
    const json golden = json::parse(line);
    const auto config = parse_model_config(golden["config"].dump(), "config.json");
    ASSERT_TRUE(config.ok()) << config.status();
    const json got = shown(*config);
    for (const auto& [key, value] : golden["expected"].items()) {
      if (key == "rope") {
        expect_rope(*config, value);
      } else if (key == "windowed_layers") {
        for (std::int64_t i = 0; i < config->num_layers && config->sliding_window != 0; ++i) {
          EXPECT_EQ(window_of_layer(*config, i) != 0,
                    value[static_cast<std::size_t>(i)].get<bool>());
        }
      } else {
        EXPECT_EQ(got[key], value) << key;
      }
    }
  }
  EXPECT_GE(count, 40);
}

ModelConfig parsed(std::string_view text) {
  const auto config = parse_model_config(text, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig();
}

TEST(ModelConfig, BlockOfEachArchitecture) {
  ModelConfig c = parsed(R"({"model_type": "bloom",
                             "apply_residual_connection_post_layernorm": true})");
  EXPECT_TRUE(c.embedding_norm && c.final_norm && c.norm_before && c.residual_after_norm);
  EXPECT_EQ(c.positions, Positions::kAlibi);
  EXPECT_EQ(c.max_positions, 0);
  c = parsed(R"({"model_type": "gpt2"})");
  EXPECT_EQ(c.positions, Positions::kLearned);
  EXPECT_TRUE(c.scale_scores && c.norm_before && c.causal && !c.gated_mlp);
  c = parsed(R"({"model_type": "opt"})");
  EXPECT_EQ(c.position_offset, 2);
  c = parsed(R"({"model_type": "qwen2"})");
  EXPECT_EQ(c.norm, NormKind::kRmsNorm);
  EXPECT_TRUE(c.gated_mlp && c.qkv_bias && !c.attention_output_bias && !c.mlp_bias);
  EXPECT_EQ(c.positions, Positions::kRope);
  c = parsed(R"({"model_type": "mistral"})");
  EXPECT_EQ(window_of_layer(c, 31), 4096);
  EXPECT_FALSE(c.qkv_bias);
  c = parsed(R"({"model_type": "bert", "id2label": {"0": "no", "1": "yes"}})");
  EXPECT_TRUE(!c.norm_before && c.embedding_norm && !c.final_norm && !c.causal);
  EXPECT_EQ(label_name(c, 1), "yes");
  EXPECT_EQ(label_name(ModelConfig(), 1), "LABEL_1");
}

TEST(ModelConfig, GenerationConfigOverridesTokens) {
  const TemporaryFolder folder;
  folder.write("config.json", R"({"model_type": "llama", "eos_token_id": 2, "pad_token_id": -1})");
  ModelConfig c = *load_model_config(folder.path());
  EXPECT_THAT(c.eos_token_ids, ElementsAre(2));
  EXPECT_EQ(c.pad_token_id, std::nullopt);
  folder.write("generation_config.json",
               R"({"eos_token_id": [128001, 128009], "pad_token_id": 0, "bos_token_id": null})");
  c = *load_model_config(folder.path());
  EXPECT_THAT(c.eos_token_ids, ElementsAre(128001, 128009));
  EXPECT_EQ(c.pad_token_id, 0);
  EXPECT_EQ(c.bos_token_id, 1);
  folder.write("generation_config.json", R"({"eos_token_id": ["x"]})");
  EXPECT_THAT(std::string(load_model_config(folder.path()).status().message()),
              HasSubstr("generation_config.json: 'eos_token_id': expected token ids"));
}

std::string error_of(std::string_view text) {
  const auto config = parse_model_config(text, "config.json");
  return config.ok() ? "no error" : std::string(config.status().message());
}

TEST(ModelConfigBadInput, Kind) {
  EXPECT_THAT(error_of("[]"), HasSubstr("config.json: expected an object"));
  EXPECT_THAT(error_of("{}"), HasSubstr("config.json: 'model_type' is missing"));
  EXPECT_THAT(error_of(R"({"model_type": "t5"})"),
              HasSubstr("config.json: unknown architecture: model_type is \"t5\"; known are bloom, "
                        "gpt2, gpt_neox, opt, llama, mistral, qwen2, bert"));
  EXPECT_THAT(error_of(R"({"model_type": "bert", "is_decoder": true})"), HasSubstr("an encoder"));
  EXPECT_THAT(error_of(R"({"model_type": "gpt2", "add_cross_attention": true})"),
              HasSubstr("no cross attention"));
  EXPECT_THAT(error_of(R"({"model_type": "llama", "hidden_act": "mish"})"),
              HasSubstr("expected one of gelu, "));
}

TEST(ModelConfigBadInput, Sizes) {
  EXPECT_THAT(error_of(R"({"model_type": "bloom", "hidden_size": 65})"),
              HasSubstr("the hidden size 65 is not a multiple of the 8 heads"));
  EXPECT_THAT(error_of(R"({"model_type": "llama", "num_key_value_heads": 5})"),
              HasSubstr("the 32 heads are not a multiple of the 5"));
  EXPECT_THAT(error_of(R"({"model_type": "llama", "num_attention_heads": 0})"),
              HasSubstr("'num_attention_heads': expected a whole number from 1"));
  EXPECT_THAT(error_of(R"({"model_type": "gpt2", "n_layer": 1e30})"), HasSubstr("'n_layer'"));
  EXPECT_THAT(error_of(R"({"model_type": "llama", "hidden_size": 1, "num_attention_heads": 9})"),
              HasSubstr("of a head's 1 dimensions are rotated"));
  EXPECT_THAT(error_of(R"({"model_type": "qwen2", "use_sliding_window": true,
                           "layer_types": ["full_attention"]})"),
              HasSubstr("'layer_types': expected 32 entries"));
}

TEST(ModelConfigBadInput, Rope) {
  const auto error = [](const std::string& rope) {
    return error_of(R"({"model_type": "llama", "head_dim": 8, "rope_scaling": )" + rope + "}");
  };
  EXPECT_THAT(error(R"({"type": "su"})"),
              HasSubstr("config.json: rope_scaling: 'type': expected one of default, linear"));
  EXPECT_THAT(error(R"({"type": "linear"})"), HasSubstr("rope_scaling: 'factor' is missing"));
  EXPECT_THAT(error(R"({"type": "linear", "factor": 0})"), HasSubstr("'factor': expected"));
  EXPECT_THAT(error(R"({"rope_type": "llama3", "factor": 8})"),
              HasSubstr("'low_freq_factor' is missing"));
  EXPECT_THAT(error(R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                        "high_freq_factor": 4})"),
              HasSubstr("'high_freq_factor' 4 is not above"));
  EXPECT_THAT(error(R"({"rope_type": "longrope", "short_factor": [1, 1]})"),
              HasSubstr("'short_factor': expected 4 numbers"));
  EXPECT_THAT(error(R"({"rope_type": "longrope", "short_factor": [1, 1, 0, 1]})"),
              HasSubstr("'short_factor': expected numbers from"));
  EXPECT_THAT(error(R"({"full_attention": {"rope_type": "default"}})"),
              HasSubstr("differ by layer"));
  EXPECT_THAT(error(R"({"partial_rotary_factor": 0.4})"), HasSubstr("expected an even number"));
}

}  // namespace
}  // namespace gamelan::io
