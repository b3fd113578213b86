#include "io/huggingface_writer.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/ft_writer.h"
#include "io/int8_weights.h"
#include "io/safetensors_writer.h"
#include "io/weight_rows.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using nlohmann::json;
using tensor::DType;
using testing::HasSubstr;

/// A model folder of any tensors.
class Model {
 public:
  void add(const std::string& name, tensor::Shape shape, float scale = 1.0F) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) {
      count *= size;
    }
    auto& values = numbers[name];
    for (std::int64_t i = 0; i < count; ++i) {
      seed_ = seed_ * 6364136223846793005U + 1442695040888963407U;
      values.push_back((static_cast<float>(seed_ >> 40) / 8388608.0F - 1.0F) * scale);
    }
    shapes[name] = std::move(shape);
  }

  ModelFiles save(const TemporaryFolder& folder, const json& config) const {
    std::vector<SafetensorsView> views;
    for (const auto& [name, values] : numbers) {
      views.push_back({name, DType::kF32, shapes.at(name), std::as_bytes(std::span(values))});
    }
    folder.write("source/config.json", config.dump());
    EXPECT_TRUE(save_safetensors(folder.file("source/model.safetensors"), views).ok());
    return open(folder.file("source"));
  }

  static ModelFiles open(const std::string& path) {
    auto model = load_model_files(path);
    EXPECT_TRUE(model.ok()) << model.status();
    return *std::move(model);
  }

  std::map<std::string, std::vector<float>> numbers;
  std::map<std::string, tensor::Shape> shapes;

 private:
  std::uint64_t seed_ = 1;
};

const json kGpt2 = {{"model_type", "gpt2"},  {"architectures", {"GPT2LMHeadModel"}},
                    {"n_embd", 6},           {"n_layer", 1},
                    {"n_head", 2},           {"vocab_size", 11},
                    {"n_positions", 5},      {"bos_token_id", 3},
                    {"eos_token_id", {4, 5}}};

const json kLlama = {
    {"model_type", "llama"}, {"hidden_size", 4}, {"num_attention_heads", 2}, {"vocab_size", 3}};

Model gpt2() {
  Model model;
  model.add("transformer.wte.weight", {11, 6});
  model.add("transformer.wpe.weight", {5, 6});
  model.add("transformer.h.0.ln_1.weight", {6});
  model.add("transformer.h.0.attn.c_attn.weight", {6, 18}, 3.0F);
  model.add("transformer.h.0.mlp.c_fc.weight", {6, 24});
  model.add("transformer.h.0.mlp.c_fc.bias", {24});
  return model;
}

std::vector<float> all_of(const WeightView& view) {
  std::vector<float> values(static_cast<std::size_t>(rows_of(view) * columns_of(view)));
  read_rows(view, 0, rows_of(view), values);
  return values;
}

TEST(HuggingFaceWriter, WritesWhatItOpened) {
  const TemporaryFolder folder;
  const Model model = gpt2();
  const ModelFiles source = model.save(folder, kGpt2);
  HuggingFaceWriterOptions options;
  std::int64_t told = 0;
  options.on_written = [&told](std::int64_t bytes) { told += bytes; };
  const auto written = write_huggingface(source, folder.file("out"), options);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->tensors, 6);
  EXPECT_EQ(written->bytes, told);
  EXPECT_EQ(huggingface_bytes(source, options), told);
  EXPECT_FALSE(written->tokenizer);
  EXPECT_EQ(folder.read("out/model.safetensors").size() % 8, 0U);
  const ModelFiles again = Model::open(folder.file("out"));
  ModelConfig expected = source.config;
  expected.dtype = DType::kF32;
  EXPECT_TRUE(again.config == expected);
  for (const auto& [name, values] : model.numbers) {
    EXPECT_EQ(all_of(*again.weights.find(name)), values) << name;
  }
  EXPECT_EQ(json::parse(folder.read("out/generation_config.json")),
            json::parse(R"({"bos_token_id": 3, "eos_token_id": [4, 5]})"));
}

TEST(HuggingFaceWriter, RoundsToTheTypeAsked) {
  const TemporaryFolder folder;
  const Model model = gpt2();
  const ModelFiles source = model.save(folder, kGpt2);
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    HuggingFaceWriterOptions options;
    options.dtype = dtype;
    options.overwrite = true;
    const auto written = write_huggingface(source, folder.file("out"), options);
    ASSERT_TRUE(written.ok()) << written.status();
    const ModelFiles again = Model::open(folder.file("out"));
    EXPECT_EQ(again.config.dtype, dtype);
    for (const auto& [name, values] : model.numbers) {
      const WeightView& view = *again.weights.find(name);
      EXPECT_EQ(view.dtype, dtype);
      const std::vector<float> got = all_of(view);
      const double unit = dtype == DType::kF16 ? 0x1p-11 : 0x1p-8;
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_LE(std::fabs(got[i] - values[i]), unit * std::fabs(values[i]) + 0x1p-25) << name;
      }
    }
  }
}

/// The rule of docs/formats/quantised.md, in double, along the inputs of each output.
TEST(HuggingFaceWriter, Int8HasAScaleForEachOutput) {
  const TemporaryFolder folder;
  const Model model = gpt2();
  const ModelFiles source = model.save(folder, kGpt2);
  HuggingFaceWriterOptions options;
  options.quantisation = Quantisation::kInt8;
  options.dtype = DType::kBF16;
  ASSERT_TRUE(write_huggingface(source, folder.file("out"), options).ok());
  const auto file = SafetensorsFile::open(folder.file("out/model.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->find("transformer.wte.weight")->dtype, DType::kBF16);
  const ModelFiles again = Model::open(folder.file("out"));
  for (const std::string name :
       {"transformer.h.0.attn.c_attn.weight", "transformer.h.0.mlp.c_fc.weight"}) {
    const std::vector<float>& values = model.numbers.at(name);
    const std::size_t outputs = values.size() / 6;
    const SafetensorsView& stored = *file->find(name);
    EXPECT_EQ(stored.dtype, DType::kI8);
    EXPECT_EQ(stored.shape, model.shapes.at(name));
    EXPECT_EQ(file->find(name + "_scale")->shape,
              (tensor::Shape{1, static_cast<std::int64_t>(outputs)}));
    const std::vector<float> got = all_of(*again.weights.find(name));
    EXPECT_EQ(again.weights.find(name)->dtype, DType::kF32);
    for (std::size_t o = 0; o < outputs; ++o) {
      float largest = 0;
      for (std::size_t i = 0; i < 6; ++i) {
        largest = std::max(largest, std::fabs(values[i * outputs + o]));
      }
      for (std::size_t i = 0; i < 6; ++i) {
        const std::size_t at = i * outputs + o;
        const double exact = static_cast<double>(values[at]) / (static_cast<double>(largest) / 127);
        const auto integer = static_cast<int>(static_cast<std::int8_t>(stored.bytes[at]));
        EXPECT_LE(std::fabs(exact - integer), 0.5001) << name << " " << at;
        EXPECT_EQ(got[at], static_cast<float>(integer) * (largest / 127.0F));
      }
    }
  }
  EXPECT_EQ(again.weights.find("transformer.h.0.mlp.c_fc.weight_scale"), nullptr);
  const json config = json::parse(folder.read("out/config.json"))["quantization_config"];
  EXPECT_EQ(config["ignore"], json::parse(R"(["lm_head", "transformer.wpe", "transformer.wte"])"));
  // Once more from the integers: the same integers.
  ASSERT_TRUE(write_huggingface(again, folder.file("again"), options).ok());
  const auto second = SafetensorsFile::open(folder.file("again/model.safetensors"));
  for (const SafetensorsView& view : file->tensors()) {
    if (view.dtype == DType::kI8) {
      EXPECT_TRUE(std::ranges::equal(view.bytes, second->find(view.name)->bytes)) << view.name;
    }
  }
}

TEST(HuggingFaceWriter, BloomComesBackFromFasterTransformer) {
  const TemporaryFolder folder;
  const json config = {{"model_type", "bloom"}, {"hidden_size", 12}, {"n_layer", 1},
                       {"n_head", 4},           {"vocab_size", 7},   {"tie_word_embeddings", true}};
  Model model;
  for (const auto& [name, shape] :
       std::map<std::string, tensor::Shape>{{"word_embeddings.weight", {7, 12}},
                                            {"word_embeddings_layernorm.weight", {12}},
                                            {"word_embeddings_layernorm.bias", {12}},
                                            {"h.0.input_layernorm.weight", {12}},
                                            {"h.0.input_layernorm.bias", {12}},
                                            {"h.0.self_attention.query_key_value.weight", {36, 12}},
                                            {"h.0.self_attention.query_key_value.bias", {36}},
                                            {"h.0.self_attention.dense.weight", {12, 12}},
                                            {"h.0.self_attention.dense.bias", {12}},
                                            {"h.0.post_attention_layernorm.weight", {12}},
                                            {"h.0.post_attention_layernorm.bias", {12}},
                                            {"h.0.mlp.dense_h_to_4h.weight", {48, 12}},
                                            {"h.0.mlp.dense_h_to_4h.bias", {48}},
                                            {"h.0.mlp.dense_4h_to_h.weight", {12, 48}},
                                            {"h.0.mlp.dense_4h_to_h.bias", {12}},
                                            {"ln_f.weight", {12}},
                                            {"ln_f.bias", {12}}}) {
    model.add("transformer." + name, shape);
  }
  const ModelFiles source = model.save(folder, config);
  FtWriterOptions ft;
  ft.tensor_para_size = 2;
  ASSERT_TRUE(write_faster_transformer(source.config, source.weights, folder.file("ft"), ft).ok());
  // Cut in two, then in four, then whole again.
  const ModelFiles halves = Model::open(folder.file("ft"));
  ft.tensor_para_size = 4;
  ASSERT_TRUE(
      write_faster_transformer(halves.config, halves.weights, folder.file("quarters"), ft).ok());
  const ModelFiles quarters = Model::open(folder.file("quarters"));
  const auto written = write_huggingface(quarters, folder.file("out"), {});
  ASSERT_TRUE(written.ok()) << written.status();
  const ModelFiles again = Model::open(folder.file("out"));
  EXPECT_EQ(again.weights.tensors().size(), model.numbers.size());
  for (const auto& [name, values] : model.numbers) {
    EXPECT_EQ(all_of(*again.weights.find(name)), values) << name;
  }
}

TEST(HuggingFaceWriterBadInput, Messages) {
  const TemporaryFolder folder;
  Model model = gpt2();
  model.numbers.at("transformer.h.0.mlp.c_fc.bias")[3] = 70000;
  const ModelFiles source = model.save(folder, kGpt2);
  HuggingFaceWriterOptions options;
  const auto error = [&](const std::string& output) {
    return std::string(write_huggingface(source, folder.file(output), options).status().message());
  };
  options.dtype = DType::kF16;
  EXPECT_THAT(
      error("out"),
      HasSubstr("source/model.safetensors: tensor 'transformer.h.0.mlp.c_fc.bias': expected "
                "numbers within the range of f16 (65504), got 70000"));
  options.dtype = DType::kI32;
  EXPECT_THAT(error("out"), HasSubstr("expected f32, f16 or bf16, got i32"));
  options.dtype.reset();
  EXPECT_THAT(error("source"), HasSubstr("expected a folder to write to, got the one that"));
  folder.write("other/mine", "x");
  EXPECT_THAT(error("other"), HasSubstr("other: is there already"));
  options.overwrite = true;
  EXPECT_THAT(error("other"), HasSubstr("expected a model folder to replace"));
  EXPECT_EQ(folder.read("other/mine"), "x");
  EXPECT_EQ(folder.entries(), 2U);
}

TEST(HuggingFaceWriterBadInput, NumbersThatInt8CannotHold) {
  const TemporaryFolder folder;
  Model model = gpt2();
  model.numbers.at("transformer.h.0.mlp.c_fc.weight")[7] = NAN;
  const ModelFiles source = model.save(folder, kGpt2);
  HuggingFaceWriterOptions options;
  options.quantisation = Quantisation::kInt8;
  EXPECT_THAT(
      std::string(write_huggingface(source, folder.file("out"), options).status().message()),
      HasSubstr("tensor 'transformer.h.0.mlp.c_fc.weight': expected finite numbers"));
  EXPECT_EQ(folder.entries(), 1U);
}

/// Codes of four evenly spaced levels, and the largest number as scale.
Int4Coding small_coding() {
  Int4Coding coding;
  coding.group_size = 4;
  coding.levels = {-1, -0.5F, 0.5F, 1};
  coding.encode = [](std::int64_t, std::int64_t, std::span<const float> numbers,
                     std::span<std::uint8_t> codes, std::span<tensor::Float16> scales) {
    for (std::size_t g = 0; g < scales.size(); ++g) {
      float largest = 0;
      for (std::size_t i = 4 * g; i < 4 * g + 4; ++i) {
        largest = std::max(largest, std::fabs(numbers[i]));
      }
      scales[g] = tensor::to_float16(largest);
      for (std::size_t i = 4 * g; i < 4 * g + 4; ++i) {
        const bool outer = std::fabs(numbers[i]) > 0.75F * largest;
        codes[i] = numbers[i] < 0 ? (outer ? 0 : 1) : (outer ? 3 : 2);
      }
    }
    return std::isfinite(numbers[0]);
  };
  return coding;
}

TEST(HuggingFaceWriter, Int4HasAScaleForEachGroup) {
  const TemporaryFolder folder;
  Model model;
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  model.add("model.embed_tokens.weight", {3, 4});
  model.add(name, {2, 8});
  model.add("model.layers.0.mlp.down_proj.weight", {8, 6});  // no whole groups
  model.numbers[name] = {4, -1, 2, 3.5F, -8, 8, 1, -4, 0, 0, 0, 0, 0.5F, -0.5F, 0.25F, 0.125F};
  const ModelFiles source = model.save(folder, kLlama);
  HuggingFaceWriterOptions options;
  options.quantisation = Quantisation::kInt4;
  options.int4 = small_coding();
  const auto written = write_huggingface(source, folder.file("out"), options);
  ASSERT_TRUE(written.ok()) << written.status();
  const auto file = SafetensorsFile::open(folder.file("out/model.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->find(name + "_int4")->shape, (tensor::Shape{2, 2, 4}));
  EXPECT_EQ(file->find(name), nullptr);
  const auto* first =
      reinterpret_cast<const std::uint8_t*>(file->find(name + "_int4")->bytes.data());
  // f16 4 = 0x4400; codes 3 1, 2 3.
  EXPECT_EQ(std::vector<int>(first, first + 4), (std::vector<int>{0x00, 0x44, 0x13, 0x32}));
  const ModelFiles again = Model::open(folder.file("out"));
  EXPECT_EQ(again.weights.tensors().size(), 3U);
  const WeightView& view = *again.weights.find(name);
  EXPECT_EQ(storage_name_of(view), kInt4StorageName);
  EXPECT_EQ(view.shape, (tensor::Shape{2, 8}));
  EXPECT_EQ(int4_group_size(view), 4);
  EXPECT_EQ(int4_group_size(*again.weights.find("model.embed_tokens.weight")), std::nullopt);
  EXPECT_EQ(all_of(view),
            (std::vector<float>{4, -2, 2, 4, -8, 8, 4, -4, 0, 0, 0, 0, 0.5F, -0.5F, 0.25F, 0.25F}));
  std::vector<float> block(4);
  read_block(view, {0, 2, 3, 2}, block);
  EXPECT_EQ(block, (std::vector<float>{4, -8, 0, 0.5F}));
  EXPECT_EQ(all_of(*again.weights.find("model.layers.0.mlp.down_proj.weight")),
            model.numbers.at("model.layers.0.mlp.down_proj.weight"));
  // From int4 to plain numbers.
  ASSERT_TRUE(write_huggingface(again, folder.file("plain"), {}).ok());
  EXPECT_EQ(all_of(*Model::open(folder.file("plain")).weights.find(name)), all_of(view));
}

std::vector<float> transpose(const std::vector<float>& matrix, std::size_t columns) {
  const std::size_t rows = matrix.size() / columns;
  std::vector<float> result;
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    result.push_back(matrix[i % rows * columns + i / rows]);
  }
  return result;
}

TEST(HuggingFaceWriter, Int4OfGpt2IsThatOfItsMatricesTransposed) {
  const TemporaryFolder folder;
  const TemporaryFolder linear_folder;
  const std::string name = "transformer.h.0.mlp.c_fc.weight";
  const std::string linear_name = "model.layers.0.mlp.up_proj.weight";
  Model model;
  model.add("transformer.wte.weight", {11, 6});
  model.add(name, {8, 6});
  model.add("transformer.h.0.mlp.c_proj.weight", {6, 8});  // no whole groups of inputs
  Model linear;
  linear.add("model.embed_tokens.weight", {3, 4});
  linear.add(linear_name, {6, 8});
  linear.numbers[linear_name] = transpose(model.numbers[name], 6);
  HuggingFaceWriterOptions options;
  options.quantisation = Quantisation::kInt4;
  options.int4 = small_coding();
  const ModelFiles source = model.save(folder, kGpt2);
  ASSERT_TRUE(write_huggingface(source, folder.file("out"), options).ok());
  const ModelFiles linear_source = linear.save(linear_folder, kLlama);
  ASSERT_TRUE(write_huggingface(linear_source, linear_folder.file("out"), options).ok());
  const auto file = SafetensorsFile::open(folder.file("out/model.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status();
  const auto linear_file = SafetensorsFile::open(linear_folder.file("out/model.safetensors"));
  ASSERT_TRUE(linear_file.ok()) << linear_file.status();
  const SafetensorsView& groups = *file->find(name + "_int4_transposed");
  const SafetensorsView& linear_groups = *linear_file->find(linear_name + "_int4");
  EXPECT_EQ(groups.shape, linear_groups.shape);
  EXPECT_TRUE(std::ranges::equal(groups.bytes, linear_groups.bytes));
  const ModelFiles again = Model::open(folder.file("out"));
  EXPECT_EQ(again.weights.tensors().size(), 3U);
  const WeightView& view = *again.weights.find(name);
  EXPECT_EQ(storage_name_of(view), kInt4StorageName);
  EXPECT_EQ(view.shape, (tensor::Shape{8, 6}));
  EXPECT_EQ(int4_group_size(view), 4);
  const ModelFiles linear_again = Model::open(linear_folder.file("out"));
  const std::vector<float> numbers = all_of(view);
  EXPECT_EQ(numbers, transpose(all_of(*linear_again.weights.find(linear_name)), 8));
  std::vector<float> block(4);
  read_block(view, {3, 2, 1, 2}, block);
  EXPECT_EQ(block, (std::vector<float>{numbers[19], numbers[20], numbers[25], numbers[26]}));
  EXPECT_EQ(all_of(*again.weights.find("transformer.h.0.mlp.c_proj.weight")),
            model.numbers.at("transformer.h.0.mlp.c_proj.weight"));
}

TEST(Int4WeightsBadInput, Messages) {
  const TemporaryFolder folder;
  const std::vector<float> numbers(16);
  const auto bytes = std::as_bytes(std::span(numbers));
  const auto error = [&](const std::vector<SafetensorsView>& tensors) {
    EXPECT_TRUE(save_safetensors(folder.file("model.safetensors"), tensors).ok());
    return std::string(open_weights(folder.path()).status().message());
  };
  const SafetensorsView levels = {"int4_levels", DType::kF32, {16}, bytes};
  EXPECT_THAT(error({{"x.weight_int4", DType::kU8, {1, 2, 4}, bytes.first(8)}}),
              HasSubstr("tensor 'x.weight_int4' needs the levels 'int4_levels', found none"));
  EXPECT_THAT(error({levels, {"x.weight_int4", DType::kU8, {4, 4}, bytes.first(16)}}),
              HasSubstr("tensor 'x.weight_int4': expected bytes [out, groups, 2 + group / 2], got "
                        "u8 [4, 4]"));
  EXPECT_THAT(error({levels, {"x.weight_int4", DType::kU8, {2, 4, 2}, bytes.first(16)}}),
              HasSubstr("got u8 [2, 4, 2]"));
  EXPECT_THAT(error({levels, {"x.weight_int4", DType::kU8, {0, 4, 4}, {}}}),
              HasSubstr("got u8 [0, 4, 4]"));
  EXPECT_THAT(error({levels, {"x.weight_int4", DType::kI8, {2, 2, 4}, bytes.first(16)}}),
              HasSubstr("got i8 [2, 2, 4]"));
  EXPECT_THAT(error({{"int4_levels", DType::kF32, {8}, bytes.first(32)}}),
              HasSubstr("'int4_levels' has shape [8], expected [16]"));
  EXPECT_THAT(error({{"x.weight_int4_transposed", DType::kU8, {1, 2, 4}, bytes.first(8)}}),
              HasSubstr("tensor 'x.weight_int4_transposed' needs the levels"));
  EXPECT_THAT(error({levels, {"x.weight_int4_transposed", DType::kU8, {4, 4}, bytes.first(16)}}),
              HasSubstr("tensor 'x.weight_int4_transposed': expected bytes [out, groups, 2 + group "
                        "/ 2], got u8 [4, 4]"));
}

/// Opens a folder of one 2 x 6 matrix of integers 1 … 12 and the tensors beside it.
base::StatusOr<Weights> open_int8(const TemporaryFolder& folder,
                                  std::vector<SafetensorsView> beside) {
  static const std::vector<std::int8_t> kIntegers = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  beside.push_back({"x.weight", DType::kI8, {2, 6}, std::as_bytes(std::span(kIntegers))});
  EXPECT_TRUE(save_safetensors(folder.file("model.safetensors"), beside).ok());
  return open_weights(folder.path());
}

TEST(Int8Weights, ScalesOfEveryShape) {
  const TemporaryFolder folder;
  const std::vector<float> scales = {2, 10, 3, 100, 1000, 7};
  const auto numbers = [&](tensor::Shape shape) {
    const auto count = static_cast<std::size_t>(shape[0] * (shape.size() > 1 ? shape[1] : 1));
    const auto weights = open_int8(folder, {{"x.weight_scale", DType::kF32, shape,
                                             std::as_bytes(std::span(scales).first(count))}});
    EXPECT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ(weights->tensors().size(), 1U);
    std::vector<float> block(4);  // rows 0 and 1, columns 2 and 3
    read_block(*weights->find("x.weight"), {0, 2, 2, 2}, block);
    return block;
  };
  using testing::ElementsAre;
  EXPECT_THAT(numbers({2, 1}), ElementsAre(6, 8, 90, 100));
  EXPECT_THAT(numbers({2}), ElementsAre(6, 8, 90, 100));
  EXPECT_THAT(numbers({1}), ElementsAre(6, 8, 18, 20));
  EXPECT_THAT(numbers({1, 6}), ElementsAre(9, 400, 27, 1000));
  EXPECT_THAT(numbers({2, 3}), ElementsAre(30, 40, 9000, 10000));
}

TEST(Int8WeightsBadInput, Messages) {
  const TemporaryFolder folder;
  const std::vector<float> scales(12, 1.0F);
  const auto error = [&](std::vector<SafetensorsView> beside) {
    return std::string(open_int8(folder, std::move(beside)).status().message());
  };
  const auto bytes = std::as_bytes(std::span(scales));
  EXPECT_THAT(error({{"x.weight_scale", DType::kF32, {3, 1}, bytes.first(12)}}),
              HasSubstr("tensor 'x.weight_scale' has shape [3, 1]; the scales of 'x.weight' [2, 6] "
                        "are [rows or 1, a divisor of the columns]"));
  EXPECT_THAT(error({{"x.weight_scale", DType::kF32, {2, 4}, bytes.first(32)}}),
              HasSubstr("has shape [2, 4]"));
  EXPECT_THAT(error({{"x.weight_scale", DType::kF32, {1, 0}, {}}}), HasSubstr("shape [1, 0]"));
  EXPECT_THAT(error({{"x.weight_scale", DType::kI32, {2, 1}, bytes.first(8)}}),
              HasSubstr("'x.weight_scale' holds i32, expected floating-point"));
  EXPECT_THAT(error({{"x.weight_scale", DType::kF32, {2, 1}, bytes.first(8)},
                     {"x.weight_zero_point", DType::kI8, {2, 1}, bytes.first(2)}}),
              HasSubstr("tensor 'x.weight_zero_point': zero points of int8 weights"));
}

}  // namespace
}  // namespace gamelan::io
