#include "io/safetensors.h"

#include <gmock/gmock.h>

#include <cstring>

#include "io/safetensors_header.h"
#include "io/safetensors_writer.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using tensor::DType;
using testing::ElementsAre;
using testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// A file of `header` and `data` with the right length in front.
std::string make_file(std::string_view header, std::string_view data = "") {
  std::string file(8, '\0');
  for (int i = 0; i < 8; ++i) {
    file[i] = static_cast<char>(header.size() >> (8 * i));
  }
  return file + std::string(header) + std::string(data);
}

std::string entry(std::string_view name, std::string_view dtype, std::string_view shape,
                  std::string_view offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape,
                     offsets);
}

std::string error_of(const std::string& file) {
  const auto parsed = SafetensorsFile::parse(bytes_of(file), "m.safetensors");
  return parsed.ok() ? "no error" : std::string(parsed.status().message());
}

std::string error_of_header(std::string_view header, std::string_view data = "") {
  return error_of(make_file(header, data));
}

/// What the Python library 0.8 writes for the tensors of `sample`.
constexpr std::string_view kReferenceHeader =
    R"({"__metadata__":{"format":"pt"},"ids":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},)"
    R"("scale":{"dtype":"F64","shape":[],"data_offsets":[16,24]},)"
    R"("b.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]},)"
    "\"empty\u00e9\":"
    R"({"dtype":"F32","shape":[0,4],"data_offsets":[48,48]},)"
    R"("mask":{"dtype":"BOOL","shape":[3],"data_offsets":[48,51]}}    )";
const std::vector<float> kWeight = {0, 1, 2, 3, 4, 5};
const std::vector<std::int64_t> kIds = {1, -2};
const std::vector<double> kScale = {2.5};
const std::vector<std::uint8_t> kMask = {1, 0, 1};

std::vector<SafetensorsView> sample() {
  return {{"b.weight", DType::kF32, {2, 3}, bytes_of(kWeight)},
          {"ids", DType::kI64, {2}, bytes_of(kIds)},
          {"mask", DType::kBool, {3}, bytes_of(kMask)},
          {"scale", DType::kF64, {}, bytes_of(kScale)},
          {"empty\u00e9", DType::kF32, {0, 4}, {}}};
}

TEST(Safetensors, WritesTheBytesOfTheReferenceLibrary) {
  const TemporaryFolder folder;
  const base::Status status = save_safetensors(folder.file("m"), sample(), {{"format", "pt"}});
  ASSERT_TRUE(status.ok()) << status;
  const std::string file = folder.read("m");
  ASSERT_EQ(file.size(), 395U);
  EXPECT_EQ(file.substr(8, 0x150), kReferenceHeader);
  EXPECT_EQ(file.substr(0, 8), make_file(kReferenceHeader).substr(0, 8));
  std::string data(51, '\0');
  std::memcpy(data.data(), kIds.data(), 16);
  std::memcpy(data.data() + 16, kScale.data(), 8);
  std::memcpy(data.data() + 24, kWeight.data(), 24);
  std::memcpy(data.data() + 48, kMask.data(), 3);
  EXPECT_EQ(file.substr(8 + 0x150), data);
}

TEST(Safetensors, ReadsWhatWasWritten) {
  const TemporaryFolder folder;
  ASSERT_TRUE(save_safetensors(folder.file("m"), sample(), {{"format", "pt"}, {"a", "\"\n"}}).ok());
  auto opened = SafetensorsFile::open(folder.file("m"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  const SafetensorsFile file = std::move(*opened);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("a"), "\"\n");
  ASSERT_EQ(file.tensors().size(), 5U);
  EXPECT_EQ(file.tensors()[0].name, "ids");
  for (const SafetensorsView& wanted : sample()) {
    const SafetensorsView* view = file.find(wanted.name);
    ASSERT_NE(view, nullptr) << wanted.name;
    EXPECT_EQ(view->dtype, wanted.dtype);
    EXPECT_EQ(view->shape, wanted.shape);
    EXPECT_TRUE(std::ranges::equal(view->bytes, wanted.bytes)) << wanted.name;
  }
  EXPECT_EQ(file.find("nothing"), nullptr);
  EXPECT_THAT(std::string(file.get("nothing").status().message()),
              HasSubstr("no tensor 'nothing' among its 5: 'ids', 'scale'"));
}

TEST(Safetensors, EveryElementTypeSurvives) {
  const TemporaryFolder folder;
  const std::string data(16, 'x');
  std::vector<SafetensorsView> views;
  for (int i = 0; i < tensor::kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    views.push_back({std::string(tensor::name_of(dtype)),
                     dtype,
                     {2, 1},
                     bytes_of(data).first(2 * tensor::size_of(dtype))});
  }
  ASSERT_TRUE(save_safetensors(folder.file("m"), views).ok());
  const auto file = SafetensorsFile::open(folder.file("m"));
  ASSERT_TRUE(file.ok()) << file.status();
  for (const SafetensorsView& view : file->tensors()) {
    EXPECT_EQ(tensor::name_of(view.dtype), view.name);
    EXPECT_EQ((view.bytes.data() - file->tensors()[0].bytes.data()) %
                  static_cast<std::ptrdiff_t>(tensor::size_of(view.dtype)),
              0);
  }
}

TEST(Safetensors, AFileWithoutTensorsIsFine) {
  const auto file =
      SafetensorsFile::parse(bytes_of(std::string_view("\2\0\0\0\0\0\0\0{}", 10)), "m");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->tensors().empty());
}

TEST(Safetensors, TheOrderOfTheHeaderNeedNotBeThatOfTheData) {
  const std::string file = make_file(
      "{" + entry("b", "U8", "[2]", "[1,3]") + "," + entry("a", "U8", "[1]", "[0,1]") + "}", "xyz");
  const auto parsed = SafetensorsFile::parse(bytes_of(file), "m");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->tensors()[0].name, "a");
  EXPECT_EQ(static_cast<char>(parsed->find("b")->bytes[1]), 'z');
}

TEST(SafetensorsBadInput, LengthOfTheHeader) {
  EXPECT_THAT(error_of("1234567"),
              HasSubstr("m.safetensors: expected a safetensors file of at least "
                        "8 bytes, got 7"));
  EXPECT_THAT(error_of(std::string(8, '\xff')), HasSubstr("over the limit of 100000000"));
  EXPECT_THAT(error_of(make_file("{}").substr(0, 9)), HasSubstr("truncated: the header needs 2"));
  EXPECT_THAT(error_of_header(""), HasSubstr("does not start with '{'"));
  EXPECT_THAT(error_of_header(" {}"), HasSubstr("does not start with '{'"));
}

TEST(SafetensorsBadInput, Json) {
  EXPECT_THAT(error_of_header("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of_header("{} x"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of_header("{\"a\xff\":1}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of_header(R"({"a":[]})"), HasSubstr("'a': expected an object"));
  EXPECT_THAT(error_of_header("{\"a\":" + std::string(100'000, '[') + "}"),
              HasSubstr("'a': expected an object"));
  EXPECT_THAT(error_of_header(R"({"__metadata__":{"k":1}})"),
              HasSubstr("__metadata__: 'k' must be a string, got 1"));
  EXPECT_THAT(error_of_header(R"({"__metadata__":{"k":{}}})"), HasSubstr("must be a string"));
  EXPECT_THAT(error_of_header(R"({"__metadata__":{"k":"1","k":"2"}})"),
              HasSubstr("duplicate key 'k'"));
}

TEST(SafetensorsBadInput, Entries) {
  EXPECT_THAT(error_of_header(R"({"a":{}})"), HasSubstr("tensor 'a': dtype is missing"));
  EXPECT_THAT(error_of_header(R"({"a":{"dtype":"U8"}})"), HasSubstr("'a': shape is missing"));
  EXPECT_THAT(error_of_header(R"({"a":{"dtype":"U8","shape":[]}})"),
              HasSubstr("'a': data_offsets is missing"));
  EXPECT_THAT(error_of_header(R"({"a":{"dtype":"U8","dtype":"U8"}})"),
              HasSubstr("dtype is given twice"));
  EXPECT_THAT(error_of_header(R"({"a":{"what":1}})"), HasSubstr("unknown key 'what'"));
  EXPECT_THAT(error_of_header(R"({"a":{"dtype":7}})"), HasSubstr("dtype must be a string, got 7"));
  EXPECT_THAT(error_of_header(R"({"a":{"dtype":"F8_E4M3"}})"),
              HasSubstr("unsupported element type 'F8_E4M3'; supported are F32, F64"));
  EXPECT_THAT(error_of_header(R"({"a":{"shape":7}})"), HasSubstr("array of whole numbers, got 7"));
  EXPECT_THAT(error_of_header(R"({"a":{"shape":[-1]}})"), HasSubstr("of at least 0, got -1"));
  EXPECT_THAT(error_of_header(R"({"a":{"shape":[1.5]}})"), HasSubstr("of at least 0, got 1.5"));
  EXPECT_THAT(error_of_header(R"({"a":{"shape":[[1]]}})"), HasSubstr("got an array"));
  EXPECT_THAT(error_of_header(R"({"a":{"shape":[18446744073709551615]}})"),
              HasSubstr("out of range"));
  EXPECT_THAT(error_of_header(R"({"a":{"data_offsets":[1]}})"), HasSubstr("has 1 numbers"));
  EXPECT_THAT(error_of_header(R"({"a":{"data_offsets":[1,2,3]}})"), HasSubstr("more than 2"));
  std::string many = "1";
  for (int i = 0; i < 64; ++i) {
    many += ",1";
  }
  EXPECT_THAT(error_of_header(R"({"a":{"shape":[)" + many + "]}}"),
              HasSubstr("more than 64 dimensions"));
  EXPECT_THAT(error_of_header("{" + entry("a", "U8", "[1]", "[0,1]") + "," +
                                  entry("a", "U8", "[1]", "[1,2]") + "}",
                              "xy"),
              HasSubstr("duplicate tensor name 'a'"));
}

TEST(SafetensorsBadInput, Offsets) {
  const auto one = [](std::string_view shape, std::string_view offsets, std::string_view data) {
    return error_of_header("{" + entry("a", "F32", shape, offsets) + "}", data);
  };
  EXPECT_EQ(one("[1]", "[0,4]", "1234"), "no error");
  EXPECT_THAT(one("[1]", "[4,0]", "1234"), HasSubstr("tensor 'a': data_offsets [4, 0] run back"));
  EXPECT_THAT(one("[2]", "[0,4]", "1234"), HasSubstr("F32[2] needs 8 bytes"));
  EXPECT_THAT(one("[1]", "[0,4]", "123"), HasSubstr("truncated: tensor 'a' ends at byte 4"));
  EXPECT_THAT(one("[1]", "[0,4]", "12345"), HasSubstr("1 bytes after the last tensor"));
  EXPECT_THAT(one("[1]", "[1,5]", "12345"), HasSubstr("1 bytes before tensor 'a'"));
  EXPECT_THAT(one("[1]", "[18446744073709551612,18446744073709551615]", ""), HasSubstr("needs 4"));
  EXPECT_THAT(one("[4611686018427387904,4]", "[0,0]", ""), HasSubstr("overflows"));
  EXPECT_THAT(one("[0,9223372036854775807,9]", "[0,0]", ""), HasSubstr("overflows"));
  EXPECT_THAT(error_of_header("{" + entry("a", "U8", "[2]", "[0,2]") + "," +
                                  entry("b", "U8", "[2]", "[1,3]") + "}",
                              "xyz"),
              HasSubstr("tensor 'b' at bytes [1, 3] overlaps tensor 'a'"));
}

TEST(SafetensorsBadInput, EveryTruncationOfAGoodFileFails) {
  const TemporaryFolder folder;
  ASSERT_TRUE(save_safetensors(folder.file("m"), sample(), {{"format", "pt"}}).ok());
  const std::string file = folder.read("m");
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(error_of(file.substr(0, size)), "no error") << size;
  }
}

TEST(SafetensorsWriter, WantsTheTensorsOfItsOrder) {
  const TemporaryFolder folder;
  const auto make = [&] {
    return SafetensorsWriter::create(folder.file("m"),
                                     {{"a", DType::kU8, {2}}, {"b", DType::kF32, {1}}}, {});
  };
  auto writer = make();
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_EQ(writer->order()[0].name, "b");
  EXPECT_THAT(std::string(writer->append("a", {}).message()), HasSubstr("expected tensor 'b'"));
  EXPECT_THAT(std::string(writer->append("b", bytes_of("123")).message()),
              HasSubstr("tensor 'b': F32[1] needs 4 bytes, got 3"));
  EXPECT_TRUE(writer->append("b", bytes_of("1234")).ok());
  EXPECT_THAT(std::string(writer->finish().message()), HasSubstr("1 of 2 tensors are missing"));
  EXPECT_TRUE(writer->append("a", bytes_of("12")).ok());
  EXPECT_FALSE(writer->append("c", {}).ok());
  EXPECT_TRUE(writer->finish().ok());
  EXPECT_TRUE(SafetensorsFile::open(folder.file("m")).ok());
}

TEST(SafetensorsWriter, RefusesWhatNobodyCouldRead) {
  const TemporaryFolder folder;
  const auto error = [&](std::vector<SafetensorsSpec> specs, const SafetensorsMetadata& meta = {}) {
    const auto writer = SafetensorsWriter::create(folder.file("m"), std::move(specs), meta);
    return writer.ok() ? "no error" : std::string(writer.status().message());
  };
  EXPECT_THAT(error({{"a", DType::kU8, {1}}, {"a", DType::kF32, {1}}}),
              HasSubstr("two tensors are called 'a'"));
  EXPECT_THAT(error({{"a", DType::kU8, {-1}}}), HasSubstr("negative or too large"));
  EXPECT_THAT(error({{"a", DType::kF64, {1LL << 62}}}), HasSubstr("negative or too large"));
  EXPECT_THAT(error({{"\xff", DType::kU8, {1}}}), HasSubstr("cannot be a tensor's name"));
  EXPECT_THAT(error({{"__metadata__", DType::kU8, {1}}}), HasSubstr("cannot be a tensor's name"));
  EXPECT_THAT(error({}, {{"k", "\xff"}}), HasSubstr("metadata 'k' is not valid UTF-8"));
  EXPECT_EQ(folder.entries(), 0U);
}

}  // namespace
}  // namespace gamelan::io
