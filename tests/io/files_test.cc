#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/mapped_file.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(MappedFile, GivesTheBytes) {
  const TemporaryFolder folder;
  auto file = MappedFile::open(folder.write("a", "hello"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->text(), "hello");
  const MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.text(), "hello");
}

TEST(MappedFile, AnEmptyFileIsAnEmptySpan) {
  const TemporaryFolder folder;
  const auto file = MappedFile::open(folder.write("empty", ""));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFile, NamesWhatIsMissing) {
  const TemporaryFolder folder;
  const auto missing = MappedFile::open(folder.file("missing"));
  EXPECT_EQ(missing.status().code(), base::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr(folder.file("missing")));
  EXPECT_THAT(std::string(MappedFile::open(folder.path()).status().message()),
              HasSubstr("expected a regular file, got a folder"));
}

TEST(MappedFile, APipeIsRefusedWithoutWaiting) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(MappedFile::open(folder.file("pipe")).status().code(),
            base::StatusCode::kInvalidArgument);
}

TEST(AtomicFile, AppearsOnCommitOnly) {
  const TemporaryFolder folder;
  folder.write("a", "old");
  {
    auto file = AtomicFile::create(folder.file("a"));
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(file->write("new ").ok());
    ASSERT_TRUE(file->write(std::string(3 << 20, 'x')).ok());
    EXPECT_EQ(folder.read("a"), "old");
    ASSERT_TRUE(file->write("end").ok());
    ASSERT_TRUE(file->commit().ok());
    EXPECT_EQ(file->write("more").code(), base::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(folder.read("a"), "new " + std::string(3 << 20, 'x') + "end");
  EXPECT_EQ(folder.entries(), 1U);
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  const TemporaryFolder folder;
  folder.write("a", "old");
  {
    auto file = AtomicFile::create(folder.file("a"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->write("new").ok());
    AtomicFile moved = std::move(*file);
    EXPECT_EQ(folder.entries(), 2U);
  }
  EXPECT_EQ(folder.read("a"), "old");
  EXPECT_EQ(folder.entries(), 1U);
}

TEST(AtomicFile, MissingFolderNamesThePath) {
  const TemporaryFolder folder;
  const base::Status status = write_file(folder.file("no/such/file"), "x");
  EXPECT_EQ(status.code(), base::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder.file("no/such/file")));
  EXPECT_EQ(write_file(folder.path() + "/", "x").code(), base::StatusCode::kInvalidArgument);
}

TEST(AtomicFile, AFolderInThePlaceOfTheFileFails) {
  const TemporaryFolder folder;
  folder.write("name/inside", "x");
  EXPECT_FALSE(write_file(folder.file("name"), "x").ok());
  EXPECT_EQ(folder.entries(), 1U);
}

/// Runs `body` in a child process, for what changes the whole process; true when it returned 0.
template <class F>
testing::AssertionResult in_child(F body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(body());
  }
  int state = 0;
  ::waitpid(child, &state, 0);
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "child ended with wait status " << state;
}

TEST(AtomicFile, AFileOverTheProcessLimitIsReportedAndRemoved) {
  const TemporaryFolder folder;
  EXPECT_TRUE(in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const base::Status status = write_file(folder.file("big"), std::string(200'000, 'x'));
    const bool named = status.message().find("big") != absl::string_view::npos;
    return status.code() == base::StatusCode::kResourceExhausted && named ? 0 : 1;
  }));
  EXPECT_EQ(folder.entries(), 0U);
}

TEST(AtomicFile, AFullDiskIsReportedAndTheOldFileStays) {
  const TemporaryFolder folder;
  if (::mount("none", folder.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "needs the right to mount a small tmpfs (root)";
  }
  folder.write("a", "old");
  const base::Status status = write_file(folder.file("a"), std::string(4 << 20, 'x'));
  EXPECT_EQ(status.code(), base::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("No space left on device"));
  EXPECT_EQ(folder.read("a"), "old");
  EXPECT_EQ(folder.entries(), 1U);
  EXPECT_EQ(::umount(folder.path().c_str()), 0);
}

TEST(AtomicFile, AnUnwritableFolderIsReported) {
  const TemporaryFolder folder;
  EXPECT_TRUE(in_child([&] {
    ::chmod(folder.path().c_str(), 0555);
    if (::geteuid() == 0 && ::setuid(65534) != 0) {  // root may write anywhere
      return 1;
    }
    const base::Status status = write_file(folder.file("a"), "x");
    return status.code() == base::StatusCode::kPermissionDenied ? 0 : 2;
  }));
}

TEST(AtomicFile, WritersOfOnePathDoNotMix) {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  for (char c = 'a'; c < 'e'; ++c) {
    threads.emplace_back([&folder, c] {
      for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(write_file(folder.file("f"), std::string(10'000, c)).ok());
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const std::string content = folder.read("f");
  EXPECT_EQ(content, std::string(10'000, content.at(0)));
  EXPECT_EQ(folder.entries(), 1U);
}

TEST(AtomicFile, AbandonedFilesOfAKilledWriterGo) {
  const TemporaryFolder folder;
  folder.write("keep", "x");
  folder.write(".hidden", "x");
  in_child([&] {
    auto file = AtomicFile::create(folder.file("keep"));
    (void)file->write("y");
    ::raise(SIGKILL);
    return 0;
  });
  EXPECT_EQ(folder.entries(), 3U);
  ASSERT_TRUE(remove_abandoned_files(folder.path()).ok());
  EXPECT_EQ(folder.entries(), 2U);
  EXPECT_EQ(folder.read("keep"), "x");
}

TEST(Folders, AreMadeWithTheirParents) {
  const TemporaryFolder folder;
  EXPECT_TRUE(make_folders(folder.file("a/b/c")).ok());
  EXPECT_TRUE(make_folders(folder.file("a/b/c")).ok());
  EXPECT_TRUE(write_file(folder.file("a/b/c/d"), "x").ok());
  EXPECT_FALSE(make_folders(folder.file("a/b/c/d")).ok());
  EXPECT_FALSE(make_folders(folder.file("a/b/c/d/e")).ok());
}

TEST(Crc32c, KnownValues) {
  // RFC 3720, B.4, and the common check value.
  EXPECT_EQ(crc32c({}), 0U);
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xe3069283U);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\0'))), 0x8a9136aaU);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\xff'))), 0x62a8ab43U);
}

TEST(Crc32c, PiecesAndBothImplementationsAgree) {
  std::string text;
  for (int i = 0; i < 257; ++i) {
    text += static_cast<char>(i * 37 + i / 7);
  }
  const auto all = bytes_of(text);
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    const auto head = all.first(cut);
    EXPECT_EQ(crc32c(head), crc32c_portable(head));
    EXPECT_EQ(crc32c(all.subspan(cut), crc32c(head)), crc32c(all));
    EXPECT_EQ(crc32c_portable(all.subspan(cut), crc32c_portable(head)), crc32c(all));
  }
}

TEST(Sha256, KnownValues) {
  // FIPS 180-2, appendix B.
  constexpr std::string_view kAbc =
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(to_hex(sha256(bytes_of("abc"))), kAbc);
  Sha256 hash;
  hash.update("a");
  hash.update("bc");
  EXPECT_EQ(to_hex(hash.finish()), kAbc);
  EXPECT_EQ(to_hex(hash.finish()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const TemporaryFolder folder;
  const auto of_file = sha256_of_file(folder.write("f", "abc"));
  ASSERT_TRUE(of_file.ok()) << of_file.status();
  EXPECT_EQ(*of_file, kAbc);
  EXPECT_FALSE(sha256_of_file(folder.file("missing")).ok());
}

}  // namespace
}  // namespace gamelan::io
