#include "io/torch_archive.h"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

#include "io/weight_rows.h"
#include "io/zip_archive.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using tensor::DType;
using testing::ElementsAre;
using testing::HasSubstr;

std::string golden(std::string_view name) {
  std::ifstream in(std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/" + std::string(name),
                   std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::vector<float> numbers_of(const Weights& weights, std::string_view name) {
  const auto view = weights.get(name);
  EXPECT_TRUE(view.ok()) << view.status();
  std::vector<float> numbers(static_cast<std::size_t>(rows_of(*view) * columns_of(*view)));
  read_block(*view, {0, rows_of(*view), 0, columns_of(*view)}, numbers);
  return numbers;
}

class TorchArchive : public testing::TestWithParam<const char*> {};

TEST_P(TorchArchive, GivesEveryTensor) {
  const TemporaryFolder folder;
  folder.write("pytorch_model.bin", golden(GetParam()));
  const auto opened = open_weights(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  const Weights& weights = *opened;
  EXPECT_EQ(weights.tensors().size(), 15U);
  EXPECT_EQ(weights.find("f32")->file, folder.file("pytorch_model.bin"));
  EXPECT_THAT(weights.find("f32")->shape, ElementsAre(2, 3));
  EXPECT_THAT(numbers_of(weights, "f32"), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(weights.find("f16")->dtype, DType::kF16);
  EXPECT_THAT(numbers_of(weights, "f16"), ElementsAre(-1, 0, 1));
  EXPECT_EQ(weights.find("bf16")->dtype, DType::kBF16);
  EXPECT_THAT(numbers_of(weights, "bf16"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(numbers_of(weights, "f64"), ElementsAre(0, 1));
  EXPECT_EQ(weights.find("i64")->dtype, DType::kI64);
  EXPECT_THAT(numbers_of(weights, "i64"), ElementsAre(0, 1));
  EXPECT_THAT(numbers_of(weights, "bool"), ElementsAre(1, 0));
  EXPECT_TRUE(weights.find("scalar")->shape.empty());
  EXPECT_THAT(numbers_of(weights, "scalar"), ElementsAre(7.5));
  EXPECT_THAT(weights.find("empty")->shape, ElementsAre(0, 4));
  EXPECT_THAT(numbers_of(weights, "parameter"), ElementsAre(10, 11));
  EXPECT_EQ(weights.find("table")->bytes.data(), weights.find("tied")->bytes.data());
  EXPECT_THAT(numbers_of(weights, "rows"), ElementsAre(3, 4, 5, 6, 7, 8));
  EXPECT_THAT(weights.find("transposed")->shape, ElementsAre(3, 4));
  EXPECT_THAT(numbers_of(weights, "transposed"), ElementsAre(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11));
  EXPECT_THAT(numbers_of(weights, "one_column"), ElementsAre(1, 4, 7, 10));
  EXPECT_THAT(numbers_of(weights, "single"), ElementsAre(0, 1));
}

INSTANTIATE_TEST_SUITE_P(Forms, TorchArchive,
                         testing::Values("torch_zip.bin", "torch_protocol4.bin",
                                         "torch_legacy.bin"));

std::string error_of(std::string_view text) {
  const auto part = parse_torch_archive(bytes_of(text), "model.bin");
  return part.ok() ? "no error" : std::string(part.status().message());
}

TEST(TorchArchiveBadInput, Files) {
  EXPECT_THAT(error_of(""), HasSubstr("model.bin: expected a file that torch.save wrote"));
  EXPECT_THAT(error_of("PK\x03\x04"), HasSubstr("truncated: a zip archive without its end record"));
  EXPECT_THAT(error_of(golden("torch_expanded.bin")),
              HasSubstr("model.bin: tensor 'w': shape [5, 3] repeats the elements"));
  EXPECT_THAT(
      error_of(golden("torch_nested.bin")),
      HasSubstr("expected tensors at the top level, found the string 'epoch': the number 3, "
                "the string 'model': a dict of 1"));
}

TEST(TorchArchiveBadInput, EveryCutIsAnError) {
  for (const char* name : {"torch_zip.bin", "torch_legacy.bin"}) {
    const std::string whole = golden(name);
    ASSERT_GT(whole.size(), 100U);
    for (std::size_t size = 0; size + 1 < whole.size(); size += 3) {
      const std::string error = error_of(whole.substr(0, size));
      ASSERT_THAT(error, HasSubstr("model.bin")) << name << " cut at " << size;
    }
  }
}

/// A stored zip archive of the given files.
std::string zip_of(const std::vector<std::pair<std::string, std::string>>& files,
                   char method = '\0') {
  const auto u16 = [](std::size_t v) {
    return std::string{static_cast<char>(v & 0xff), static_cast<char>(v >> 8)};
  };
  const auto u32 = [&](std::size_t v) { return u16(v & 0xffff) + u16(v >> 16); };
  std::string data;
  std::string directory;
  for (const auto& [name, content] : files) {
    // Version, flags, method, time, checksum, sizes, lengths: alike in both headers.
    const std::string common = std::string(4, '\0') + u16(static_cast<std::size_t>(method)) +
                               std::string(8, '\0') + u32(content.size()) + u32(content.size()) +
                               u16(name.size()) + u16(0);
    directory += "PK\x01\x02" + u16(0) + common + std::string(10, '\0') + u32(data.size()) + name;
    data += "PK\x03\x04" + common + name + content;
  }
  return data + directory + "PK\x05\x06" + std::string(4, '\0') + u16(files.size()) +
         u16(files.size()) + u32(directory.size()) + u32(data.size()) + u16(0);
}

std::string error_of_pickle(std::string_view pickle) {
  return error_of(zip_of({{"a/data.pkl", std::string(pickle)}, {"a/data/0", "12345678"}}));
}

TEST(TorchArchiveBadInput, Archives) {
  EXPECT_THAT(error_of(zip_of({{"a/b", "x"}})), HasSubstr("a zip archive without data.pkl"));
  EXPECT_THAT(error_of(zip_of({{"a/data.pkl", "x"}, {"a/constants.pkl", ""}})),
              HasSubstr("TorchScript program"));
  EXPECT_THAT(error_of(zip_of({{"a/data.pkl", "x"}, {"a/data.pkl", "x"}})),
              HasSubstr("entry 'a/data.pkl' is there twice"));
  EXPECT_THAT(error_of(zip_of({{"a/data.pkl", "x"}}, '\x08')), HasSubstr("is compressed"));
  EXPECT_THAT(error_of(zip_of({{"a/data.pkl", "}."}, {"a/byteorder", "big"}})),
              HasSubstr("byte order 'big', expected 'little'"));
  EXPECT_EQ(error_of(zip_of({{"a/data.pkl", "}."}})), "no error");
}

/// A dict of one tensor "w" with these storage properties.
std::string tensor_pickle(const std::string& sizes, const std::string& type = "FloatStorage") {
  return "\x80\x02}X\x01" + std::string(3, '\0') + "wctorch._utils\n_rebuild_tensor_v2\n((X\x07" +
         std::string(3, '\0') + "storagectorch\n" + type + "\nX\x01" + std::string(3, '\0') +
         "0X\x03" + std::string(3, '\0') + "cpuK\x02tQ" + sizes + "\x89}tRs.";
}

TEST(TorchArchiveBadInput, Tensors) {
  const std::string zero(1, '\0');
  EXPECT_EQ(error_of_pickle(tensor_pickle("K" + zero + "K\x02\x85K\x01\x85")), "no error");
  EXPECT_THAT(
      error_of_pickle(tensor_pickle("K" + zero + "K\x03\x85K\x01\x85")),
      HasSubstr("tensor 'w': shape [3] from element 0 on does not lie in storage '0' of 8"));
  EXPECT_THAT(error_of_pickle(tensor_pickle("K\x01K\x02\x85K\x01\x85")),
              HasSubstr("from element 1"));
  EXPECT_THAT(error_of_pickle(tensor_pickle("J\xff\xff\xff\xffK\x02\x85K\x01\x85")),
              HasSubstr("expected the offset in a storage, got the number -1"));
  EXPECT_THAT(error_of_pickle(tensor_pickle("K" + zero + "K\x02\x85)")),
              HasSubstr("1 sizes and 0 strides"));
  EXPECT_THAT(error_of_pickle(tensor_pickle("K" + zero + "NN")), HasSubstr("got None"));
  const std::string huge = "\x8a\x08" + std::string(7, '\xff') + "\x7f";
  EXPECT_THAT(
      error_of_pickle(tensor_pickle("K" + zero + huge + huge + "\x86" + huge + huge + "\x86")),
      HasSubstr("overflows"));
  EXPECT_THAT(error_of_pickle(tensor_pickle("K" + zero + "K\x02\x85" + huge + "\x85")),
              HasSubstr("does not lie in storage"));
  EXPECT_THAT(error_of_pickle(tensor_pickle("K" + zero + "K\x02\x85K\x01\x85", "QInt8Storage")),
              HasSubstr("the name torch.QInt8Storage is not among the supported types"));
}

TEST(TorchArchiveBadInput, NothingIsCalled) {
  EXPECT_THAT(error_of_pickle("\x80\x02}X\x01" + std::string(3, '\0') +
                              "wctorch._utils\n_rebuild_evil\n)Rs."),
              HasSubstr("the name torch._utils._rebuild_evil is not called"));
  // os.system("x") at the top: a value, never performed, and not a dict.
  EXPECT_THAT(error_of_pickle("cos\nsystem\nU\x01x\x85R."),
              HasSubstr("expected a dict of tensors"));
  EXPECT_THAT(error_of_pickle("cos\nsystem\nU\x01x\x85Rb."), HasSubstr("the stack is empty"));
  EXPECT_THAT(error_of_pickle("(i"), HasSubstr("opcode 0x69 at byte 1: not among the opcodes"));
}

TEST(TorchArchiveBadInput, Pickles) {
  EXPECT_THAT(error_of_pickle(""), HasSubstr("the pickle ends without its end mark"));
  EXPECT_THAT(error_of_pickle("}"), HasSubstr("the pickle ends without its end mark"));
  EXPECT_THAT(error_of_pickle("X\xff\xff\xff\xff"), HasSubstr("ends inside the opcode at byte 0"));
  EXPECT_THAT(error_of_pickle("h\x01."), HasSubstr("memo 1 was never set"));
  EXPECT_THAT(error_of_pickle("}r\xff\xff\xff\xff."), HasSubstr("over the limit"));
  EXPECT_THAT(error_of_pickle("}t."), HasSubstr("there is no mark"));
  EXPECT_THAT(error_of_pickle("}(K\x01u."), HasSubstr("a key without a value"));
  EXPECT_THAT(error_of_pickle("]K\x01K\x02s."), HasSubstr("expected a dict to add to"));
  EXPECT_THAT(error_of_pickle("\x80\x09."), HasSubstr("protocol 9"));
  EXPECT_THAT(error_of_pickle("K\x01K\x02R."), HasSubstr("expected a name and its arguments"));
  // A list inside itself is no endless thing.
  EXPECT_THAT(error_of_pickle("]q" + std::string(1, '\0') + "h" + std::string(1, '\0') + "a."),
              HasSubstr("got a list of 1"));
}

}  // namespace
}  // namespace gamelan::io
