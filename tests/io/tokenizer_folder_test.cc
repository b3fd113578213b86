#include "io/tokenizer_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "io/mapped_file.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

class TokenizerFolderTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.file(name); }
  void write(const std::string& name, const std::string& text) const { folder_.write(name, text); }
  std::string read(const std::string& name) const {
    const auto file = MappedFile::open(path(name));
    return file.ok() ? std::string(file->text()) : "missing";
  }

  TemporaryFolder folder_;
};

TEST_F(TokenizerFolderTest, CopiesTheTokenizersFilesAndNothingElse) {
  write("from/tokenizer.json", "{}");
  write("from/merges.txt", "a b\n");
  write("from/config.json", "{\"x\": 1}");
  ASSERT_TRUE(copy_tokenizer_files(path("from"), path("to/deep")).ok());
  EXPECT_EQ(read("to/deep/tokenizer.json"), "{}");
  EXPECT_EQ(read("to/deep/merges.txt"), "a b\n");
  EXPECT_FALSE(std::filesystem::exists(path("to/deep/config.json")));
}

TEST_F(TokenizerFolderTest, CopiesASingleFile) {
  write("tokenizer.model", "bytes");
  ASSERT_TRUE(copy_tokenizer_files(path("tokenizer.model"), path("to")).ok());
  EXPECT_EQ(read("to/tokenizer.model"), "bytes");
}

TEST_F(TokenizerFolderTest, LeavesAFolderThatIsItsOwnTargetAlone) {
  write("from/vocab.txt", "a\n");
  ASSERT_TRUE(copy_tokenizer_files(path("from"), path("from")).ok());
  EXPECT_EQ(read("from/vocab.txt"), "a\n");
}

TEST_F(TokenizerFolderTest, SaysWhatItLookedFor) {
  write("from/config.json", "{}");
  const base::Status status = copy_tokenizer_files(path("from"), path("to"));
  EXPECT_EQ(status.code(), base::StatusCode::kNotFound);
  EXPECT_THAT(std::string(base::message(status)), testing::HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace gamelan::io
