#include "io/weights.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "io/safetensors_writer.h"
#include "io/weight_rows.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using tensor::DType;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<SafetensorsView> kOne = {{"a", DType::kU8, {0}, {}}};
const std::vector<SafetensorsView> kTwo = {{"b", DType::kU8, {0}, {}}};

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

TEST(OpenWeights, OneFile) {
  const TemporaryFolder folder;
  const std::vector<float> numbers = {1, 2, 3, 4, 5, 6};
  const auto bytes = bytes_of(numbers);
  ASSERT_TRUE(save_safetensors(folder.file("model.safetensors"),
                               std::vector<SafetensorsView>{{"h.0.w", DType::kF32, {2, 3}, bytes},
                                                            {"h.1.w", DType::kI64, {0}, {}}})
                  .ok());
  auto opened = open_weights(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  const Weights weights = *std::move(opened);
  EXPECT_EQ(weights.tensors().size(), 2U);
  EXPECT_EQ(weights.find("h"), nullptr);
  const auto view = weights.get("h.0.w", {2, 3});
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->file, folder.file("model.safetensors"));
  EXPECT_EQ(storage_name_of(*view), "F32");
  std::vector<float> row(3);
  read_row(*view, 1, row);
  EXPECT_THAT(row, ElementsAre(4, 5, 6));
  EXPECT_EQ(
      weights.get("transformer.h.1.w").status().message(),
      folder.path() + ": no tensor 'transformer.h.1.w' among its 2; closest: 'h.1.w', 'h.0.w'");
  EXPECT_EQ(
      weights.get("h.0.w", {3, 2}).status().message(),
      folder.file("model.safetensors") + ": tensor 'h.0.w' has shape [2, 3], expected [3, 2]");
  EXPECT_THAT(std::string(weights.get("h.1.w", {0}).status().message()),
              HasSubstr("tensor 'h.1.w' holds i64, expected floating-point numbers"));
}

TEST(OpenWeights, ShardsAreFoundThroughTheIndex) {
  const TemporaryFolder folder;
  ASSERT_TRUE(save_safetensors(folder.file("1.safetensors"), kOne).ok());
  ASSERT_TRUE(save_safetensors(folder.file("2.safetensors"), kTwo).ok());
  folder.write("model.safetensors.index.json",
               R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})");
  const auto weights = open_weights(folder.path());
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->find("a")->file, folder.file("1.safetensors"));
  EXPECT_NE(weights->find("b"), nullptr);
  EXPECT_EQ(weights->find("c"), nullptr);
}

TEST(OpenWeightsBadInput, Folder) {
  const TemporaryFolder folder;
  const auto error = [&] {
    const auto weights = open_weights(folder.path());
    return weights.ok() ? "no error" : std::string(weights.status().message());
  };
  EXPECT_THAT(error(), HasSubstr("expected model.safetensors or model.safetensors.index.json"));
  ASSERT_TRUE(save_safetensors(folder.file("1.safetensors"), kOne).ok());
  const auto index = [&](std::string_view json) {
    folder.write("model.safetensors.index.json", json);
    return error();
  };
  EXPECT_THAT(index("{}"), HasSubstr("'weight_map' is missing"));
  EXPECT_THAT(index(R"({"weight_map": {"a": "../1.safetensors"}})"),
              HasSubstr("the name of a file in the same folder"));
  EXPECT_THAT(index(R"({"weight_map": {"a": ".."}})"), HasSubstr("the name of a file"));
  EXPECT_THAT(index(R"({"weight_map": {"a": 3}})"), HasSubstr("got the number 3"));
  EXPECT_THAT(index(R"({"weight_map": {"b": "1.safetensors"}})"), HasSubstr("no tensor 'b'"));
  EXPECT_THAT(index(R"({"weight_map": {"a": "9.safetensors"}})"), HasSubstr("9.safetensors"));
  ASSERT_TRUE(
      save_safetensors(folder.file("2.safetensors"), std::vector<SafetensorsView>{kOne[0], kTwo[0]})
          .ok());
  EXPECT_THAT(index(R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})"),
              HasSubstr("2.safetensors: tensor 'a' is in " + folder.file("1.safetensors")));
}

TEST(OpenWeights, TorchShardsAreFoundThroughTheIndex) {
  const std::string zip = std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/torch_zip.bin";
  const TemporaryFolder single;
  std::filesystem::copy_file(zip, single.file("pytorch_model.bin"));
  const auto whole = open_weights(single.path());
  ASSERT_TRUE(whole.ok()) << whole.status();
  const TemporaryFolder folder;
  std::filesystem::copy_file(zip, folder.file("pytorch_model-00001-of-00001.bin"));
  ASSERT_FALSE(whole->tensors().empty());
  std::string map;
  for (const WeightView& view : whole->tensors()) {
    map += fmt::format(R"({}"{}": "pytorch_model-00001-of-00001.bin")", map.empty() ? "" : ", ",
                       view.name);
  }
  folder.write("pytorch_model.bin.index.json", R"({"weight_map": {)" + map + "}}");
  const auto weights = open_weights(folder.path());
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->tensors().size(), whole->tensors().size());
  EXPECT_EQ(weights->tensors().front().file, folder.file("pytorch_model-00001-of-00001.bin"));
}

TEST(OpenWeights, SafetensorsComeFirstWhereBothAre) {
  const TemporaryFolder folder;
  std::filesystem::copy_file(std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/torch_zip.bin",
                             folder.file("pytorch_model.bin"));
  ASSERT_TRUE(save_safetensors(folder.file("model.safetensors"), kOne).ok());
  const auto weights = open_weights(folder.path());
  ASSERT_TRUE(weights.ok()) << weights.status();
  ASSERT_EQ(weights->tensors().size(), 1U);
  EXPECT_EQ(weights->tensors().front().file, folder.file("model.safetensors"));
}

TEST(WeightRows, EveryHalfWidensExactly) {
  std::vector<std::uint16_t> all(1U << 16);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<std::uint16_t>(i);
  }
  std::vector<std::byte> bytes(1 + all.size() * 2);  // unaligned on purpose
  std::memcpy(bytes.data() + 1, all.data(), all.size() * 2);
  std::vector<float> out(all.size());
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    widen(dtype, bytes.data() + 1, all.size(), out.data());
    for (std::size_t i = 0; i < all.size(); ++i) {
      const float want = dtype == DType::kF16 ? tensor::to_float(tensor::Float16{all[i]})
                                              : tensor::to_float(tensor::BFloat16{all[i]});
      ASSERT_TRUE(std::isnan(want) ? std::isnan(out[i])
                                   : out[i] == want && std::signbit(out[i]) == std::signbit(want))
          << tensor::name_of(dtype) << " " << i;
    }
  }
}

TEST(WeightRows, OtherTypes) {
  const auto widened = [](DType dtype, const std::vector<std::byte>& bytes) {
    std::vector<float> out(bytes.size() / tensor::size_of(dtype));
    widen(dtype, bytes.data(), out.size(), out.data());
    return out;
  };
  EXPECT_THAT(widened(DType::kF64, bytes_of<double>({1.5, -2})), ElementsAre(1.5, -2));
  EXPECT_THAT(widened(DType::kI64, bytes_of<std::int64_t>({1, -7})), ElementsAre(1, -7));
  EXPECT_THAT(widened(DType::kU8, bytes_of<std::uint8_t>({255})), ElementsAre(255));
  EXPECT_THAT(widened(DType::kBool, bytes_of<std::uint8_t>({0, 1})), ElementsAre(0, 1));
}

TEST(WeightRows, BlocksAndTheirTransposes) {
  std::vector<float> numbers(40 * 600);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<float>(i);
  }
  const auto bytes = bytes_of(numbers);
  const WeightView view{"w", DType::kF32, {40, 30, 20}, bytes, nullptr, "file"};
  EXPECT_EQ(rows_of(view), 40);
  EXPECT_EQ(columns_of(view), 600);
  const WeightBlock block{3, 35, 7, 590};
  std::vector<float> straight(35 * 590);
  std::vector<float> transposed(35 * 590);
  read_block(view, block, straight);
  read_block_transposed(view, block, transposed);
  for (std::size_t r = 0; r < 35; ++r) {
    for (std::size_t c = 0; c < 590; ++c) {
      ASSERT_EQ(straight[r * 590 + c], static_cast<float>((r + 3) * 600 + c + 7));
      ASSERT_EQ(transposed[c * 35 + r], straight[r * 590 + c]);
    }
  }
  read_block(view, {40, 0, 0, 600}, {});
}

TEST(WeightRows, VectorsAndScalarsAreOneRow) {
  EXPECT_EQ(rows_of({"v", DType::kF32, {5}, {}, nullptr, ""}), 1);
  EXPECT_EQ(columns_of({"v", DType::kF32, {5}, {}, nullptr, ""}), 5);
  EXPECT_EQ(columns_of({"s", DType::kF32, {}, {}, nullptr, ""}), 1);
}

TEST(WeightRowsDeathTest, ABlockOutsideIsABug) {
  const WeightView view{"w", DType::kF32, {0, 4}, {}, nullptr, ""};
  std::vector<float> out(4);
  EXPECT_DEATH(read_row(view, 0, out), "tensor 'w' \\[0, 4\\]");
}

}  // namespace
}  // namespace gamelan::io
