// What Git LFS leaves in place of a large file, in place of each file that a model may have.

#include <gmock/gmock.h>

#include "io/load_tokenizer.h"
#include "io/model_files.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using testing::HasSubstr;

constexpr std::string_view kPointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 437951328\n";
constexpr std::string_view kConfig = R"({"model_type": "bloom", "hidden_size": 8, "n_head": 2})";

template <class Result>
void expect_advice(const Result& result, const std::string& file) {
  ASSERT_FALSE(result.ok()) << file;
  const std::string message(result.status().message());
  EXPECT_THAT(message, HasSubstr(file + ": this is a Git LFS pointer"));
  EXPECT_THAT(message, HasSubstr("git lfs pull"));
}

TEST(LfsPointer, IsNamedInPlaceOfAModelFile) {
  const TemporaryFolder folder;
  for (const char* name : {"a.gguf", "a.bin"}) {
    expect_advice(load_model_files(folder.write(name, kPointer)), folder.file(name));
  }
  for (const char* name : {"hf/config.json", "ft/config.ini", "ft2/1-gpu/config.ini"}) {
    const std::string file = folder.write(name, kPointer);
    expect_advice(load_model_files(file.substr(0, file.find('/', folder.path().size() + 1))), file);
  }
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json", "generation_config.json"}) {
    const std::string of = std::string("of_") + name;
    folder.write(of + "/config.json", kConfig);
    const std::string file = folder.write(of + "/" + name, kPointer);
    expect_advice(load_model_files(folder.file(of)), file);
  }
}

TEST(LfsPointer, IsNamedInPlaceOfATokenizersFile) {
  const TemporaryFolder folder;
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.txt", "tokenizer.bin"}) {
    const std::string of = std::string("of_") + name;
    const std::string file = folder.write(of + "/" + name, kPointer);
    expect_advice(load_tokenizer(folder.file(of)), file);
    expect_advice(load_tokenizer(file), file);
  }
  folder.write("pair/vocab.json", R"({"a": 0})");
  const std::string merges = folder.write("pair/merges.txt", kPointer);
  expect_advice(load_tokenizer(folder.file("pair")), merges);
}

}  // namespace
}  // namespace gamelan::io
