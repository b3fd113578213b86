#include "io/llama2c.h"

#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>

#include "fuzz/parsers.h"
#include "io/mapped_file.h"
#include "io/weight_rows.h"

namespace gamelan::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A version 0 checkpoint: dim 4, hidden 3, 2 layers, 1 head, vocabulary 5, 2 positions; its
/// numbers count up.
std::vector<std::byte> tiny(std::int32_t vocab) {
  const std::vector<std::int32_t> sizes = {4, 3, 2, 1, 1, vocab, 2};
  const std::size_t tables = vocab < 0 ? 2 : 1;
  std::vector<float> numbers(tables * 20 + 2 * (8 + 64 + 36) + 4 + 8);
  std::iota(numbers.begin(), numbers.end(), 0.0F);
  std::vector<std::byte> bytes(28 + numbers.size() * 4);
  std::memcpy(bytes.data(), sizes.data(), 28);
  std::memcpy(bytes.data() + 28, numbers.data(), numbers.size() * 4);
  return bytes;
}

std::vector<float> numbers_of(const Weights& weights, std::string_view name) {
  const auto view = weights.get(name);
  EXPECT_TRUE(view.ok()) << view.status();
  std::vector<float> out(static_cast<std::size_t>(rows_of(*view) * columns_of(*view)));
  read_rows(*view, 0, rows_of(*view), out);
  return out;
}

TEST(Llama2c, TensorsAreHuggingFaces) {
  const auto bytes = tiny(5);
  ASSERT_TRUE(is_llama2c(bytes));
  auto model = parse_llama2c(bytes, "tiny");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->config.hidden_size, 4);
  EXPECT_EQ(model->config.num_layers, 2);
  EXPECT_TRUE(model->config.tied_embeddings);
  EXPECT_EQ(model->weights.find("lm_head.weight"), nullptr);
  // 20 numbers of embeddings, 8 of norms; rows 0 2 1 3 of the file, as pairs stand apart.
  EXPECT_THAT(numbers_of(model->weights, "model.layers.0.self_attn.q_proj.weight"),
              ElementsAre(28, 29, 30, 31, 36, 37, 38, 39, 32, 33, 34, 35, 40, 41, 42, 43));
  EXPECT_EQ(numbers_of(model->weights, "model.layers.1.self_attn.v_proj.weight").front(),
            28 + 64 + 16);
  EXPECT_EQ(numbers_of(model->weights, "model.norm.weight").front(), 28 + 128 + 8 + 72);
}

TEST(Llama2c, AnUnsharedClassifierIsLast) {
  const auto bytes = tiny(-5);
  const auto model = parse_llama2c(bytes, "tiny");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE(model->config.tied_embeddings);
  EXPECT_EQ(numbers_of(model->weights, "lm_head.weight").front(), 28 + 128 + 8 + 72 + 4 + 8);
}

/// Version 2 of one layer: dim 2, hidden 2, 1 head, vocabulary 2, groups of 2 numbers.
TEST(Llama2c, Int8GroupsAreScaled) {
  std::vector<std::byte> bytes(256);
  const std::vector<std::int32_t> head = {0x616b3432, 2, 2, 2, 1, 1, 1, 2, 8};
  std::memcpy(bytes.data(), head.data(), head.size() * 4);
  bytes[36] = std::byte{1};
  const std::int32_t group = 2;
  std::memcpy(bytes.data() + 37, &group, 4);
  const auto append = [&](const void* from, std::size_t size) {
    const auto* first = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), first, first + size);
  };
  const std::vector<float> norms(6, 1.0F);
  append(norms.data(), 24);
  for (int matrix = 0; matrix < 8; ++matrix) {
    const std::vector<std::int8_t> values = {1, -2, 3, -128};
    const std::vector<float> scales = {0.5F, 2.0F + static_cast<float>(matrix)};
    append(values.data(), 4);
    append(scales.data(), 8);
  }
  const auto model = parse_llama2c(bytes, "int8");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(numbers_of(model->weights, "model.embed_tokens.weight"),
              ElementsAre(0.5F, -1.0F, 6.0F, -256.0F));
  EXPECT_THAT(numbers_of(model->weights, "model.layers.0.mlp.up_proj.weight"),
              ElementsAre(0.5F, -1.0F, 27.0F, -1152.0F));
}

TEST(Llama2c, BadFilesAreNamed) {
  auto bytes = tiny(5);
  bytes.pop_back();
  EXPECT_FALSE(is_llama2c(bytes));
  EXPECT_THAT(std::string(parse_llama2c(bytes, "cut").status().message()),
              HasSubstr("cut: expected a llama2.c checkpoint whose sizes fit its"));
  std::vector<std::byte> version(256);
  const std::vector<std::int32_t> head = {0x616b3432, 9};
  std::memcpy(version.data(), head.data(), 8);
  EXPECT_THAT(std::string(parse_llama2c(version, "new").status().message()),
              HasSubstr("new: llama2.c checkpoint of version 9, known are 0, 1 and 2"));
  const std::vector<std::int32_t> small = {0x616b3432, 1, 64, 64, 10000, 8, 4, 512, 512};
  std::memcpy(version.data(), small.data(), small.size() * 4);
  EXPECT_THAT(std::string(parse_llama2c(version, "short").status().message()),
              HasSubstr("take more bytes than the file's 256"));
  EXPECT_FALSE(parse_llama2c_tokenizer(tiny(5), "x").ok());
  EXPECT_EQ(load_model_files("/nowhere/at/all").status().code(), base::StatusCode::kNotFound);
}

TEST(Llama2c, MutationsNeverCrash) {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    auto bytes = tiny(round % 2 == 0 ? 5 : -5);
    bytes[random() % 40] = static_cast<std::byte>(random());
    if (round % 3 == 0) {
      bytes.resize(random() % bytes.size());
    }
    fuzz::llama2c({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
}

class Stories : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(folder_ + "tok512.bin")) {
      GTEST_SKIP() << "SKIPPED: " << folder_ << " is missing";
    }
  }
  std::string folder_ = std::string(GAMELAN_SOURCE_DIR) + "/../shared/data/stories260K/";
};

TEST_F(Stories, BothVersionsHoldTheSameModel) {
  const auto v0 = load_model_files(folder_ + "stories260K.bin");
  const auto v1 = load_model_files(folder_ + "checkpoint_v1.bin");
  ASSERT_TRUE(v0.ok()) << v0.status();
  ASSERT_TRUE(v1.ok()) << v1.status();
  EXPECT_EQ(v0->config, v1->config);
  EXPECT_EQ(v0->tokenizer_path, folder_ + "tok512.bin");
  EXPECT_EQ(v0->config.num_kv_heads, 4);
  ASSERT_EQ(v0->weights.tensors().size(), 2U + 5 * 9);
  for (const WeightView& view : v0->weights.tensors()) {
    EXPECT_EQ(numbers_of(v0->weights, view.name), numbers_of(v1->weights, view.name)) << view.name;
  }
}

TEST_F(Stories, TokenizerRoundTrips) {
  const auto tokenizer = load_llama2c_tokenizer(folder_ + "tok512.bin");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocabulary_size(), 512);
  std::ifstream in(folder_ + "expected_greedy_200.txt");
  const std::string story{std::istreambuf_iterator<char>(in), {}};
  const auto ids = (*tokenizer)->encode(story);
  EXPECT_EQ(ids.front(), 1);
  EXPECT_LE(ids.size(), 201U);  // what greedy generation took, at most
  EXPECT_EQ((*tokenizer)->decode(ids, true), story);
  const std::string odd = " \u4e2d\n\U0001f600";
  EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode(odd), true), odd);
}

}  // namespace
}  // namespace gamelan::io
