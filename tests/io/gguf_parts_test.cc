// Models in several GGUF files; make_gguf_golden.py made those in tests/io/data/gguf/*-parts.

#include "io/gguf_parts.h"

#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>

#include "io/gguf.h"
#include "io/load_tokenizer.h"
#include "io/tokenizer_export.h"
#include "io/weight_rows.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using testing::EndsWith;
using testing::HasSubstr;

std::string data(const std::string& name) {
  return std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/gguf/" + name;
}

std::string part_name(const std::string& model, int number) {
  return fmt::format("{}-{:05}-of-00003.gguf", model, number);
}

std::string part_of(const std::string& model, int number) {
  return data(model + "-parts/" + part_name(model, number));
}

std::vector<float> all_of(const WeightView& view) {
  std::vector<float> numbers(static_cast<std::size_t>(rows_of(view) * columns_of(view)));
  read_rows(view, 0, rows_of(view), numbers);
  return numbers;
}

void expect_same(const ModelFiles& got, const ModelFiles& expected) {
  EXPECT_TRUE(got.config == expected.config);
  ASSERT_EQ(got.weights.tensors().size(), expected.weights.tensors().size());
  for (std::size_t i = 0; i < got.weights.tensors().size(); ++i) {
    const WeightView& view = got.weights.tensors()[i];
    const WeightView& other = expected.weights.tensors()[i];
    EXPECT_EQ(view.name, other.name);
    EXPECT_EQ(view.dtype, other.dtype);
    EXPECT_EQ(view.shape, other.shape);
    EXPECT_TRUE(view.mapped);
    EXPECT_EQ(all_of(view), all_of(other)) << view.name;
  }
}

class GgufPartsOf : public testing::TestWithParam<const char*> {};

TEST_P(GgufPartsOf, AreTheWholeModel) {
  const std::string model = GetParam();
  const auto whole = load_model_files(data(model + ".gguf"));
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (const std::string& path :
       {part_of(model, 1), part_of(model, 2), part_of(model, 3), data(model + "-parts")}) {
    SCOPED_TRACE(path);
    const auto parts = load_model_files(path);
    ASSERT_TRUE(parts.ok()) << parts.status();
    expect_same(*parts, *whole);
    EXPECT_EQ(parts->tokenizer_path, part_of(model, 1));
    EXPECT_EQ(parts->weights.tensors().back().file, part_of(model, 3));
  }
}

TEST_P(GgufPartsOf, HaveOneTokenizer) {
  const std::string model = GetParam();
  const auto whole = load_tokenizer(data(model + ".gguf"));
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (const int number : {1, 2, 3}) {
    const auto tokenizer = load_tokenizer(part_of(model, number));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_EQ((*tokenizer)->vocabulary_size(), (*whole)->vocabulary_size());
    EXPECT_EQ((*tokenizer)->encode("It's 12 tests"), (*whole)->encode("It's 12 tests"));
    const TemporaryFolder folder;
    const auto exported = export_tokenizer(part_of(model, number), folder.file("out"));
    EXPECT_TRUE(exported.ok() && *exported) << exported.status();
  }
}

// The first part of gpt2 has no tensors.
INSTANTIATE_TEST_SUITE_P(All, GgufPartsOf, testing::Values("qwen2", "gpt2"));

TEST(GgufParts, AreFoundByTheirNames) {
  EXPECT_EQ(first_gguf_part("a/m-00002-of-00003.gguf"), "a/m-00001-of-00003.gguf");
  EXPECT_EQ(first_gguf_part("m-00001-of-00003.gguf"), "m-00001-of-00003.gguf");
  EXPECT_EQ(first_gguf_part("m-0002-of-0003.gguf"), "m-0002-of-0003.gguf");
  EXPECT_EQ(first_gguf_part("m-00002-of-0000x.gguf"), "m-00002-of-0000x.gguf");
  EXPECT_EQ(first_gguf_part("m.gguf"), "m.gguf");
}

/// A copy of the parts of qwen2, to be spoilt.
class Copy {
 public:
  Copy() { fs::copy(data("qwen2-parts"), folder.path()); }

  static std::string name(int number) { return part_name("qwen2", number); }
  std::string path(int number) const { return folder.file(name(number)); }

  /// Of the same length.
  Copy& replace(int number, std::string_view from, std::string_view to) {
    std::string bytes = folder.read(name(number));
    bytes.replace(bytes.find(from), from.size(), to);
    folder.write(name(number), bytes);
    return *this;
  }
  /// The bytes of the value of `key`, a number.
  template <class T>
  Copy& set(int number, std::string_view key, T value) {
    std::string bytes = folder.read(name(number));
    std::memcpy(bytes.data() + bytes.find(key) + key.size() + sizeof(std::uint32_t), &value,
                sizeof(value));
    folder.write(name(number), bytes);
    return *this;
  }
  std::string error(int number = 1) const {
    return std::string(base::message(open_gguf(path(number)).status()));
  }

  TemporaryFolder folder;
};

TEST(GgufPartsBadInput, AMissingPartIsNamed) {
  for (const int missing : {1, 2, 3}) {
    const Copy copy;
    fs::remove(copy.path(missing));
    for (const int given : {1, 2, 3}) {
      EXPECT_THAT(copy.error(given), HasSubstr(copy.path(missing)));
    }
  }
}

TEST(GgufPartsBadInput, APartSaysWhichItIs) {
  EXPECT_THAT(Copy().set(1, "split.no", std::uint16_t{1}).error(),
              EndsWith("qwen2-00001-of-00003.gguf: expected part 1 of 3, got part 2 of 3"));
  EXPECT_THAT(Copy().set(2, "split.no", std::uint16_t{2}).error(),
              EndsWith("qwen2-00002-of-00003.gguf: expected part 2 of 3, got part 3 of 3"));
  EXPECT_THAT(Copy().set(3, "split.count", std::uint16_t{4}).error(),
              EndsWith("qwen2-00003-of-00003.gguf: expected part 3 of 3, got part 3 of 4"));
  EXPECT_THAT(Copy().replace(2, "split.no", "split.on").error(),
              HasSubstr("qwen2-00002-of-00003.gguf: 'split.no': expected a whole number"));
  EXPECT_THAT(Copy().set(1, "split.count", std::uint16_t{2}).error(),
              HasSubstr("expected a name that ends in '-00001-of-00002.gguf'"));
  const Copy copy;
  fs::rename(copy.path(2), copy.folder.file("second.gguf"));
  EXPECT_THAT(std::string(base::message(open_gguf(copy.folder.file("second.gguf")).status())),
              EndsWith("second.gguf: expected part 1 of 3, got part 2 of 3"));
}

TEST(GgufPartsBadInput, ATensorIsInOnePart) {
  EXPECT_THAT(Copy().replace(3, "blk.1.ffn_down", "blk.0.ffn_down").error(),
              AllOf(HasSubstr("qwen2-00003-of-00003.gguf: tensor 'blk.0.ffn_down.weight' is in "),
                    EndsWith("qwen2-00002-of-00003.gguf as well")));
  EXPECT_THAT(Copy().set(1, "split.tensors.count", 27).error(),
              EndsWith("qwen2-00001-of-00003.gguf: expected 27 tensors in its 3 parts, got 26"));
  EXPECT_THAT(Copy().replace(1, "split.tensors.count", "split.tensors.cnt__").error(),
              HasSubstr("'split.tensors.count': expected a whole number"));
}

TEST(GgufPartsBadInput, EveryTruncationOfALaterPartIsRefused) {
  const Copy copy;
  const std::string whole = copy.folder.read(Copy::name(3));
  for (std::size_t size = 0; size < whole.size(); size += size < 1000 ? 7 : 499) {
    copy.folder.write(Copy::name(3), whole.substr(0, size));
    EXPECT_THAT(copy.error(), HasSubstr("qwen2-00003-of-00003.gguf")) << size;
  }
}

TEST(GgufPartsBadInput, AFolderWithTwoModelsIsRefused) {
  const Copy copy;
  fs::copy_file(data("gpt2.gguf"), copy.folder.file("gpt2.gguf"));
  EXPECT_THAT(std::string(base::message(load_model_files(copy.folder.path()).status())),
              HasSubstr("one *.gguf (or its parts)"));
}

}  // namespace
}  // namespace gamelan::io
