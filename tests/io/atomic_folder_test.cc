#include "io/atomic_folder.h"

#include <gmock/gmock.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <csignal>
#include <optional>

#include "io/atomic_file.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using IfThere = AtomicFolder::IfThere;

/// Two files "a" and "b" with `content`.
base::Status write_two(const std::string& target, const std::string& content, IfThere if_there) {
  GAMELAN_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(target, if_there));
  GAMELAN_RETURN_IF_ERROR(write_file((folder.path() / "a").string(), content));
  GAMELAN_RETURN_IF_ERROR(write_file((folder.path() / "b").string(), content));
  return folder.publish();
}

/// The process that ".NAME.PID.gamelan-tmp" belongs to is gone.
pid_t dead_process() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  return child;
}

TEST(AtomicFolder, AppearsWhenItIsPublished) {
  const TemporaryFolder place;
  const std::string target = place.file("new/out/");
  {
    auto folder = AtomicFolder::create(target, IfThere::kRefuse);
    ASSERT_TRUE(folder.ok()) << folder.status();
    ASSERT_TRUE(write_file((folder->path() / "a").string(), "x").ok());
    EXPECT_FALSE(fs::exists(place.file("new/out")));
    AtomicFolder moved = *std::move(folder);
    ASSERT_TRUE(moved.publish().ok());
  }
  EXPECT_EQ(place.read("new/out/a"), "x");
  EXPECT_EQ(std::distance(fs::directory_iterator(place.file("new")), {}), 1);
}

TEST(AtomicFolder, LeavesNothingUnlessItIsPublished) {
  const TemporaryFolder place;
  { EXPECT_TRUE(AtomicFolder::create(place.file("new/out"), IfThere::kRefuse).ok()); }
  EXPECT_EQ(place.entries(), 0U);
}

TEST(AtomicFolder, OneThatIsThereIsReplacedOnlyWhenAsked) {
  const TemporaryFolder place;
  ASSERT_TRUE(write_two(place.file("out"), "old", IfThere::kRefuse).ok());
  place.write("out/c", "old");
  const base::Status refused = write_two(place.file("out"), "new", IfThere::kRefuse);
  EXPECT_EQ(refused.code(), base::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("out: is there already"));
  EXPECT_EQ(place.read("out/a"), "old");
  ASSERT_TRUE(write_two(place.file("out"), "new", IfThere::kReplace).ok());
  EXPECT_EQ(place.read("out/b"), "new");
  EXPECT_FALSE(fs::exists(place.file("out/c")));
  EXPECT_EQ(place.entries(), 1U);
}

TEST(AtomicFolder, AnEmptyFolderCountsAsNone) {
  const TemporaryFolder place;
  fs::create_directory(place.file("out"));
  ASSERT_TRUE(write_two(place.file("out"), "x", IfThere::kRefuse).ok());
  EXPECT_EQ(place.read("out/a"), "x");
}

TEST(AtomicFolder, OneThatComesMeanwhileStays) {
  const TemporaryFolder place;
  auto folder = AtomicFolder::create(place.file("out"), IfThere::kRefuse);
  ASSERT_TRUE(folder.ok()) << folder.status();
  place.write("out/mine", "x");
  EXPECT_FALSE(folder->publish().ok());
  EXPECT_EQ(place.read("out/mine"), "x");
}

TEST(AtomicFolder, NamesWhatIsInItsPlace) {
  const TemporaryFolder place;
  place.write("file", "x");
  EXPECT_THAT(std::string(write_two(place.file("file"), "x", IfThere::kReplace).message()),
              HasSubstr("file: expected a folder, found a file"));
  EXPECT_THAT(std::string(write_two("", "x", IfThere::kReplace).message()),
              HasSubstr("write folder '': expected the path of a folder"));
  EXPECT_THAT(std::string(write_two(place.file("file/out"), "x", IfThere::kReplace).message()),
              HasSubstr("file"));
}

TEST(AtomicFolder, WhatKilledWritersLeftGoes) {
  const TemporaryFolder place;
  const pid_t dead = dead_process();
  place.write(fmt::format(".out.{}.gamelan-tmp/a", dead), "half");
  place.write(fmt::format(".other.{}.gamelan-tmp/a", dead), "half");
  place.write(fmt::format(".out.{}.gamelan-tmp/a", ::getppid()), "under way");
  ASSERT_TRUE(write_two(place.file("out"), "new", IfThere::kRefuse).ok());
  EXPECT_EQ(place.entries(), 3U);
  EXPECT_FALSE(fs::exists(place.file(fmt::format(".out.{}.gamelan-tmp", dead))));
}

TEST(AtomicFolder, WhatAKilledWriterMovedAsideComesBack) {
  const TemporaryFolder place;
  const std::string aside = fmt::format(".out.{}.gamelan-old", dead_process());
  place.write(aside + "/a", "old");
  EXPECT_FALSE(write_two(place.file("out"), "new", IfThere::kRefuse).ok());
  EXPECT_EQ(place.read("out/a"), "old");
  place.write(aside + "/a", "older");
  EXPECT_FALSE(write_two(place.file("out"), "new", IfThere::kRefuse).ok());
  EXPECT_EQ(place.read("out/a"), "old");
  EXPECT_EQ(place.entries(), 1U);
}

/// Runs `body` in a child that is killed when it enters its system call number `limit`. True when
/// it ended before that; nullopt when tracing is not allowed.
template <class F>
std::optional<bool> ends_within(int limit, F body) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) {
      ::_exit(77);
    }
    ::raise(SIGSTOP);
    body();
    ::_exit(0);
  }
  int state = 0;
  ::waitpid(child, &state, 0);
  if (!WIFSTOPPED(state)) {
    return std::nullopt;
  }
  for (int stops = 0; stops < 2 * limit; ++stops) {  // a stop at each entry and each exit
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &state, 0);
    if (!WIFSTOPPED(state)) {
      return true;
    }
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &state, 0);
  return false;
}

TEST(AtomicFolder, AKillAtAnySystemCallLeavesTheOldOrTheNew) {
  const TemporaryFolder place;
  const std::string target = place.file("out");
  ASSERT_TRUE(write_two(target, "0", IfThere::kRefuse).ok());
  int kept = 0;
  int replaced = 0;
  for (int limit = 1;; ++limit) {
    const std::string before = place.read("out/a");
    const std::string content = std::to_string(limit);
    const std::optional<bool> ended = ends_within(
        limit, [&] { static_cast<void>(write_two(target, content, IfThere::kReplace)); });
    if (!ended) {
      GTEST_SKIP() << "ptrace is not allowed here";
    }
    ASSERT_EQ(place.read("out/a"), place.read("out/b")) << limit;
    ASSERT_THAT(place.read("out/a"), testing::AnyOf(before, content)) << limit;
    kept += place.read("out/a") == before ? 1 : 0;
    replaced += place.read("out/a") == content && !*ended ? 1 : 0;
    if (*ended) {
      break;
    }
  }
  EXPECT_GT(kept, 10);
  EXPECT_GT(replaced, 2) << "removing the old folder takes some calls";
  EXPECT_EQ(place.entries(), 1U) << "the last writer removes what the others left";
}

}  // namespace
}  // namespace gamelan::io
