#include "io/ft_writer.h"

#include <gmock/gmock.h>

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "io/checksum.h"
#include "io/faster_transformer.h"
#include "io/ft_config.h"
#include "io/ft_layout.h"
#include "io/ini_file.h"
#include "io/safetensors_writer.h"
#include "io/weight_rows.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// Number `i` of tensor `k`, as make_ft_golden.py has it.
float number(std::uint64_t i, std::uint64_t k) {
  const std::uint64_t raw = (i * 2654435761U + k * 40503U) % (std::uint64_t{1} << 32);
  return static_cast<float>(static_cast<double>(raw) / 2147483648.0 - 1.0);
}

struct Bloom {
  ModelConfig config;
  std::map<std::string, std::vector<float>> tensors;
};

Bloom make_bloom(const FtConfig& sizes, bool head) {
  Bloom bloom{*to_model_config(sizes, head), {}};
  std::uint64_t k = 0;
  for (const FtTensor& tensor : ft_tensors(sizes, head)) {
    auto& numbers = bloom.tensors[tensor.name];
    numbers.resize(static_cast<std::size_t>(tensor.outputs() * tensor.inputs()));
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = number(i, k);
    }
    ++k;
  }
  return bloom;
}

/// Writes the model as a HuggingFace folder of two shards and opens it.
Weights save(const TemporaryFolder& folder, const FtConfig& sizes, const Bloom& bloom, bool head) {
  std::vector<SafetensorsView> shards[2];
  json index = {{"weight_map", json::object()}};
  std::size_t count = 0;
  for (const FtTensor& tensor : ft_tensors(sizes, head)) {
    const std::size_t shard = count++ < 7 ? 0 : 1;
    const std::string name = (tensor.name == "lm_head.weight" ? "" : "transformer.") + tensor.name;
    shards[shard].push_back({name, tensor::DType::kF32, tensor.source,
                             std::as_bytes(std::span(bloom.tensors.at(tensor.name)))});
    index["weight_map"][name] = fmt::format("{}.safetensors", shard);
  }
  for (const int shard : {0, 1}) {
    EXPECT_TRUE(
        save_safetensors(folder.file(fmt::format("{}.safetensors", shard)), shards[shard]).ok());
  }
  folder.write("model.safetensors.index.json", index.dump());
  auto weights = open_weights(folder.path());
  EXPECT_TRUE(weights.ok()) << weights.status();
  return *std::move(weights);
}

FtConfig sizes_of(std::int64_t heads, std::int64_t dim, std::int64_t layers, std::int64_t vocab) {
  FtConfig sizes;
  sizes.num_heads = heads;
  sizes.size_per_head = dim;
  sizes.num_layers = layers;
  sizes.vocab_size = vocab;
  return sizes;
}

TEST(FtWriter, EveryFileHasTheGoldenHashAndReadsBack) {
  std::ifstream in(std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/ft_golden.json");
  const json cases = json::parse(in);
  ASSERT_EQ(cases.size(), 5U);
  for (const json& golden : cases) {
    SCOPED_TRACE(golden["heads"].dump() + " heads, tp " + golden["tp"].dump());
    const TemporaryFolder folder;
    const FtConfig sizes =
        sizes_of(golden["heads"], golden["dim"], golden["layers"], golden["vocab"]);
    const bool head = golden["head"];
    const Bloom bloom = make_bloom(sizes, head);
    const Weights weights = save(folder, sizes, bloom, head);
    FtWriterOptions options;
    options.tensor_para_size = golden["tp"];
    options.weight_type = golden["dtype"] == "float16" ? tensor::DType::kF16 : tensor::DType::kF32;
    options.workers = 3;
    options.by_shard = head;
    options.model_name = "tiny";
    const auto status =
        write_faster_transformer(bloom.config, weights, folder.file("out"), options);
    ASSERT_TRUE(status.ok()) << status;
    const std::string out = fmt::format("out/{}-gpu/", options.tensor_para_size);
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.file(out))) {
      files += entry.path().filename() != "config.ini" ? 1 : 0;
    }
    EXPECT_EQ(files, golden["files"].size());
    EXPECT_EQ(folder.read(out + "config.ini"), golden["config"].get<std::string>());
    for (const auto& [name, hash] : golden["files"].items()) {
      EXPECT_EQ(*sha256_of_file(folder.file(out + name)), hash.get<std::string>()) << name;
    }
    const auto again = open_faster_transformer(folder.file("out"));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->config.tied_embeddings, !head);
    EXPECT_TRUE(again->notes.empty());
    for (const WeightView& view : again->weights.tensors()) {
      const WeightView* source = weights.find(view.name);
      ASSERT_NE(source, nullptr) << view.name;
      ASSERT_EQ(view.shape, source->shape);
      std::vector<float> got(static_cast<std::size_t>(rows_of(view) * columns_of(view)));
      std::vector<float> expected(got.size());
      read_rows(view, 0, rows_of(view), got);
      read_rows(*source, 0, rows_of(*source), expected);
      for (std::size_t i = 0; i < got.size(); ++i) {
        const float rounded = options.weight_type == tensor::DType::kF16
                                  ? tensor::to_float(tensor::to_float16(expected[i]))
                                  : expected[i];
        ASSERT_EQ(got[i], rounded) << view.name << " " << i;
      }
    }
  }
}

/// An element by the definition of the layout alone: file [hidden, 3, heads/t, d].
TEST(FtWriter, QueryKeyValueIsReordered) {
  const TemporaryFolder folder;
  const FtConfig sizes = sizes_of(6, 3, 1, 11);
  const Bloom bloom = make_bloom(sizes, false);
  const Weights weights = save(folder, sizes, bloom, false);
  FtWriterOptions options;
  options.tensor_para_size = 2;
  ASSERT_TRUE(write_faster_transformer(bloom.config, weights, folder.path(), options).ok());
  const auto& source = bloom.tensors.at("h.0.self_attention.query_key_value.weight");
  for (std::size_t rank = 0; rank < 2; ++rank) {
    const std::string bytes = folder.read(
        fmt::format("2-gpu/model.layers.0.attention.query_key_value.weight.{}.bin", rank));
    ASSERT_EQ(bytes.size(), 18U * 27 * 4);
    std::size_t at = 0;
    for (std::size_t input = 0; input < 18; ++input) {
      for (std::size_t part = 0; part < 3; ++part) {
        for (std::size_t head = 3 * rank; head < 3 * rank + 3; ++head) {
          for (std::size_t e = 0; e < 3; ++e, at += 4) {
            float value = 0;
            std::memcpy(&value, bytes.data() + at, 4);
            ASSERT_EQ(value, source[((head * 3 + part) * 3 + e) * 18 + input]);
          }
        }
      }
    }
  }
}

TEST(FtWriterBadInput, NothingIsWritten) {
  const TemporaryFolder folder;
  const FtConfig sizes = sizes_of(6, 2, 1, 11);
  Bloom bloom = make_bloom(sizes, false);
  const Weights weights = save(folder, sizes, bloom, false);
  FtWriterOptions options;
  const auto error = [&] {
    return std::string(
        write_faster_transformer(bloom.config, weights, folder.file("out"), options).message());
  };
  options.tensor_para_size = 4;
  EXPECT_THAT(error(), HasSubstr("tensor 'h.0.self_attention.query_key_value.weight' [36, 12]: its "
                                 "6 heads cannot be split evenly into 4 parts"));
  options.tensor_para_size = 2;
  bloom.config.vocab_size = 12;
  EXPECT_THAT(error(), HasSubstr("'transformer.word_embeddings.weight' has shape [11, 12], "
                                 "expected [12, 12]"));
  bloom.config.architecture = Architecture::kLlama;
  EXPECT_THAT(error(), HasSubstr("expected a model of type bloom, got llama"));
  EXPECT_FALSE(std::filesystem::exists(folder.file("out")));
}

TEST(FtWriter, AFolderIsReplacedOnlyWhenAsked) {
  const TemporaryFolder folder;
  const FtConfig sizes = sizes_of(2, 2, 1, 3);
  const Bloom bloom = make_bloom(sizes, false);
  const Weights weights = save(folder, sizes, bloom, false);
  folder.write("out/1-gpu/mine", "x");
  FtWriterOptions options;
  const auto write = [&] {
    return write_faster_transformer(bloom.config, weights, folder.file("out"), options);
  };
  EXPECT_THAT(std::string(write().message()), HasSubstr("1-gpu: is there already"));
  EXPECT_EQ(folder.read("out/1-gpu/mine"), "x");
  options.overwrite = true;
  ASSERT_TRUE(write().ok());
  EXPECT_FALSE(std::filesystem::exists(folder.file("out/1-gpu/mine")));
  std::size_t entries = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.file("out"))) {
    EXPECT_EQ(entry.path().filename(), "1-gpu");
    ++entries;
  }
  EXPECT_EQ(entries, 1U);
}

TEST(FtConfig, TextAndBack) {
  FtConfig config = sizes_of(32, 128, 30, 250880);
  config.model_name = "bigscience/bloom-7b1";
  config.tensor_para_size = 2;
  config.weight_type = tensor::DType::kF16;
  const std::string text = format_ft_config(config);
  EXPECT_EQ(text,
            "[gpt]\nmodel_name=bigscience/bloom-7b1\nnum_layer=30\nhead_num=32\ninter_size=16384\n"
            "size_per_head=128\nvocab_size=250880\ntensor_para_size=2\nweight_data_type=fp16\n"
            "model_variant=bloom-pre\nlayernorm_eps=1e-05\nlayernorm_type=pre_layernorm\n"
            "activation_type=Gelu\nhas_positional_encoding=False\nhas_pre_decoder_layernorm=True\n"
            "has_post_decoder_layernorm=True\nuse_attention_linear_bias=True\nstart_id=1\n"
            "end_id=2\n\n");
  std::vector<std::string> notes;
  std::string spaced = text;
  spaced.replace(spaced.find("end_id=2"), 8, "end_id = 7\n# x\nmax_pos_seq_len = 0");
  const auto parsed = parse_ft_config(spaced, "config.ini", &notes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->end_id, 7);
  EXPECT_EQ(parsed->hidden_size(), 4096);
  EXPECT_THAT(notes, testing::ElementsAre("config.ini: 'max_pos_seq_len' is ignored"));
}

TEST(FtConfigBadInput, Messages) {
  const std::string good = format_ft_config(sizes_of(4, 2, 1, 3));
  const auto error = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return std::string(parse_ft_config(text, "c.ini", nullptr).status().message());
  };
  EXPECT_EQ(error("bloom-pre", "gpt"),
            "c.ini: unknown model_variant 'gpt'; known are bloom-pre and bloom-post");
  EXPECT_EQ(error("head_num=4", "head_num=x"),
            "c.ini: 'head_num': expected a number from 1 to 16777216, got 'x'");
  EXPECT_EQ(error("inter_size=32", "inter_size=31"),
            "c.ini: 'inter_size': expected 4 x head_num x size_per_head = 32, got '31'");
  EXPECT_EQ(error("para_size=1", "para_size=3"),
            "c.ini: 'tensor_para_size': expected a divisor of the 4 heads, got '3'");
  EXPECT_EQ(error("vocab_size=3", "vocab_siz"),
            "c.ini:7: expected [section] or key=value, got 'vocab_siz'");
  for (std::size_t length = 0; length + 10 < good.size(); ++length) {  // truncated anywhere
    EXPECT_FALSE(parse_ft_config(good.substr(0, length), "c.ini", nullptr).ok()) << length;
  }
}

TEST(FasterTransformerBadInput, FilesAndFolders) {
  const TemporaryFolder folder;
  const FtConfig sizes = sizes_of(2, 2, 1, 3);
  const Bloom bloom = make_bloom(sizes, true);
  const Weights weights = save(folder, sizes, bloom, true);
  FtWriterOptions options;
  options.tensor_para_size = 2;
  ASSERT_TRUE(write_faster_transformer(bloom.config, weights, folder.file("out"), options).ok());
  const auto error = [&] {
    return std::string(open_faster_transformer(folder.file("out")).status().message());
  };
  const std::string name = "out/2-gpu/model.layers.0.mlp.dense_h_to_4h.bias.1.bin";
  const std::string whole = folder.read(name);
  folder.write(name, whole.substr(1));
  EXPECT_EQ(error(), folder.file(name) + ": expected 32 bytes ([8] of f32), got 31");
  folder.write(name, "version https://git-lfs.github.com/spec/v1\n");
  EXPECT_THAT(error(), HasSubstr(folder.file(name) + ": this is a Git LFS pointer"));
  std::filesystem::remove(folder.file(name));
  EXPECT_THAT(error(), HasSubstr("dense_h_to_4h.bias.1.bin: No such file"));
  folder.write(name, whole);
  // Without the mark the head is the original converter's: [hidden, vocab].
  std::string config = folder.read("out/2-gpu/config.ini");
  config.replace(config.find("lm_head_layout"), std::string_view("lm_head_layout").size(), "other");
  folder.write("out/2-gpu/config.ini", config);
  const auto old = open_faster_transformer(folder.file("out/2-gpu"));
  ASSERT_TRUE(old.ok()) << old.status();
  EXPECT_EQ(old->notes.size(), 2U);
  std::vector<float> head(12);
  read_rows(*old->weights.find("lm_head.weight"), 0, 3, head);
  const auto& stored = bloom.tensors.at("lm_head.weight");
  for (std::size_t v = 0; v < 3; ++v) {
    for (std::size_t h = 0; h < 4; ++h) {
      EXPECT_EQ(head[v * 4 + h], stored[h * 3 + v]);
    }
  }
  folder.write("out/1-gpu/config.ini", config);
  EXPECT_THAT(error(), HasSubstr("expected one N-gpu folder, found"));
}

}  // namespace
}  // namespace gamelan::io
