// Jobs whose workers are killed (SIGKILL) at random moments, also while a snapshot is written,
// restarted by the agent: they end with the bits of an undisturbed job. What a writer leaves behind
// (`.tmp-*`) tells which kills fell inside a write.

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string_view>

#include "base/clock.h"
#include "base/fd.h"
#include "tests/train/scratch_folder.h"
#include "train/checkpoint/snapshot_folder.h"

namespace gamelan::train {
namespace {

namespace fs = std::filesystem;

constexpr int kRanks = 2;
/// 301 samples, batches of 4 on two ranks, two accumulated: 19 steps an epoch, a snapshot every 4.
constexpr int kEpochs = 6;

/// One `gamelan run` of kill_worker. The destructor ends it.
class RunningJob {
 public:
  RunningJob(const std::string& folder, int max_restarts) : fifo_(folder + "/events") {
    ::mkfifo(fifo_.c_str(), 0600);
    // Both ends, so that the workers can open and close it as they come and go.
    events_ = base::Fd(::open(fifo_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    pid_ = ::fork();
    if (pid_ == 0) {
      const std::string out = folder + "/out";
      const std::string result = folder + "/result";
      fs::create_directories(result);
      const std::string log = folder + "/log";
      const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      ::dup2(fd, 1);
      ::dup2(fd, 2);
      ::execl(GAMELAN_PROGRAM, GAMELAN_PROGRAM, "run", "--standalone", "--nproc-per-node",
              std::to_string(kRanks).c_str(), "--max-restarts",
              std::to_string(max_restarts).c_str(), GAMELAN_KILL_WORKER, out.c_str(),
              result.c_str(), fifo_.c_str(), std::to_string(kEpochs).c_str(), nullptr);
      ::_exit(127);
    }
  }
  ~RunningJob() {
    if (!exit_) {
      ::kill(pid_, SIGTERM);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  /// The ranks' pids after `count` more micro-batches of any rank; nullopt when the job ended
  /// before.
  std::optional<std::array<pid_t, kRanks>> after_batches(int count) {
    const base::TimePoint deadline = base::deadline_after(std::chrono::minutes(2));
    while (count > 0 || pids_[0] == 0 || pids_[1] == 0) {
      if (ended() || base::Clock::now() > deadline) {
        return std::nullopt;
      }
      pollfd poll = {events_.get(), POLLIN, 0};
      ::poll(&poll, 1, 50);
      count -= read_events();
    }
    return pids_;
  }
  /// These processes are dead or about to be: what they still have in the fifo does not count.
  void forget_ranks() {
    dead_.insert(pids_.begin(), pids_.end());
    pids_ = {};
  }

  bool ended() {
    int status = 0;
    if (!exit_ && ::waitpid(pid_, &status, WNOHANG) == pid_) {
      exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return exit_.has_value();
  }

  /// Exit code; nullopt when it has not ended in time.
  std::optional<int> wait() {
    const base::TimePoint deadline = base::deadline_after(std::chrono::minutes(3));
    while (!ended() && base::Clock::now() < deadline) {
      pollfd poll = {events_.get(), POLLIN, 0};
      ::poll(&poll, 1, 20);
      read_events();
    }
    return exit_;
  }

 private:
  int read_events() {
    char buffer[4096];
    const ssize_t size = ::read(events_.get(), buffer, sizeof(buffer));
    if (size <= 0) {
      return 0;
    }
    std::istringstream lines(rest_ + std::string(buffer, static_cast<std::size_t>(size)));
    rest_.clear();
    int count = 0;
    for (std::string line; std::getline(lines, line);) {
      if (lines.eof()) {
        rest_ = line;
        break;
      }
      std::istringstream fields(line);
      std::size_t rank = 0;
      pid_t pid = 0;
      fields >> rank >> pid;
      if (!dead_.contains(pid)) {
        pids_.at(rank) = pid;
        ++count;
      }
    }
    return count;
  }

  std::string fifo_;
  base::Fd events_;
  std::string rest_;
  pid_t pid_ = -1;
  std::array<pid_t, kRanks> pids_ = {};
  std::set<pid_t> dead_;
  std::optional<int> exit_;
};

std::string result_of(const std::string& folder) {
  return testing::read_file(folder + "/result/model.safetensors");
}

/// Whether `out` holds a snapshot that is being written, or was when its writer died.
bool has_unfinished_snapshot(const std::string& out) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(out, error)) {
    if (entry.path().filename().string().starts_with(".tmp-")) {
      return true;
    }
  }
  return false;
}

/// Returns once `pid`, no child of ours, has no threads that run: it is a zombie or gone.
void await_death(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/stat", pid);
  const base::TimePoint deadline = base::deadline_after(std::chrono::seconds(10));
  while (base::Clock::now() < deadline) {
    // Not a stream: reading fails, and a stream throws, when the process goes after the opening.
    const base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char buffer[512];
    const ssize_t size = file.valid() ? ::read(file.get(), buffer, sizeof(buffer)) : -1;
    const std::string_view stat(buffer, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    const std::size_t name_end = stat.rfind(')');
    if (name_end == std::string_view::npos || stat.compare(name_end, 3, ") Z") == 0) {
      return;
    }
    ::sched_yield();
  }
  ADD_FAILURE() << "process " << pid << " still runs 10 s after SIGKILL";
}

int kills_wanted() {
  const char* value = std::getenv("GAMELAN_KILLS");
  return value == nullptr ? 5 : std::atoi(value);
}

class KillTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = std::make_unique<testing::ScratchFolder>();
    const std::string folder = new_folder("undisturbed");
    RunningJob job(folder, 0);
    ASSERT_EQ(job.wait(), 0) << testing::read_file(folder + "/log");
    expected_ = result_of(folder);
    ASSERT_FALSE(expected_.empty());
  }
  static void TearDownTestSuite() { scratch_.reset(); }
  static std::string new_folder(const std::string& name) {
    fs::create_directories(scratch_->file(name));
    return scratch_->file(name);
  }

  int random(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  /// Kills a random rank after `low` to `high` more micro-batches; false when the job ended before.
  bool kill_one(RunningJob& job, const std::string& out, int low, int high) {
    const auto pids = job.after_batches(random(low, high));
    if (!pids) {
      return false;
    }
    // Somewhere within a step (about 1 ms) or the writing of a snapshot (several).
    ::usleep(static_cast<useconds_t>(random(0, 8000)));
    return kill_rank(job, *pids, static_cast<std::size_t>(random(0, kRanks - 1)), out);
  }

  /// Kills rank 0 soon after it has begun to write a snapshot into `out`, after `low` to `high`
  /// micro-batches or later; false when the job ended before.
  bool kill_writer(RunningJob& job, const std::string& out, int low, int high) {
    const auto pids = job.after_batches(random(low, high));
    if (!pids) {
      return false;
    }
    while (!has_unfinished_snapshot(out)) {
      if (job.ended()) {
        return false;
      }
    }
    // Anywhere in the files, their fsync, the renames or the removal of the oldest.
    ::usleep(static_cast<useconds_t>(random(0, 3000)));
    return kill_rank(job, *pids, 0, out);
  }

  bool kill_rank(RunningJob& job, const std::array<pid_t, kRanks>& pids, std::size_t rank,
                 const std::string& out) {
    const bool killed = ::kill(pids.at(rank), SIGKILL) == 0;
    if (killed && rank == 0) {
      // The next rank 0 removes what this one left, but needs a while to start.
      await_death(pids.at(rank));
      kills_in_write_ += has_unfinished_snapshot(out) ? 1 : 0;
    }
    job.forget_ranks();
    return killed;
  }

  static std::unique_ptr<testing::ScratchFolder> scratch_;
  static std::string expected_;
  std::mt19937 random_{std::random_device{}()};
  int kills_in_write_ = 0;
};

std::unique_ptr<testing::ScratchFolder> KillTest::scratch_;
std::string KillTest::expected_;

// Every third kill is aimed at a write; the others hit where they may. Goes on until a fifth of the
// kills wanted fell inside a write.
TEST_F(KillTest, AKilledJobEndsWithTheSameBits) {
  const int wanted = kills_wanted();
  const int wanted_in_write = (wanted + 4) / 5;
  int kills = 0;
  const auto more = [&] {
    return kills < 3 * wanted && (kills < wanted || kills_in_write_ < wanted_in_write);
  };
  for (int number = 0; more(); ++number) {
    const std::string folder = new_folder("job" + std::to_string(number));
    const std::string out = folder + "/out";
    RunningJob job(folder, 1000);
    while (more() && (kills % 3 == 0 ? kill_writer(job, out, 1, 80) : kill_one(job, out, 1, 80))) {
      ++kills;
    }
    ASSERT_EQ(job.wait(), 0) << testing::read_file(folder + "/log");
    ASSERT_EQ(result_of(folder), expected_) << "after " << kills << " kills, job " << number;
  }
  fmt::print("{} kills, {} of them inside the write of a snapshot\n", kills, kills_in_write_);
  RecordProperty("kills", kills);
  RecordProperty("kills_in_write", kills_in_write_);
  EXPECT_GE(kills_in_write_, wanted_in_write) << "of " << kills << " kills";
}

// The job dies, its newest snapshot loses its end, the same command is typed again.
TEST_F(KillTest, ATruncatedNewestSnapshotCostsStepsOnly) {
  const std::string folder = new_folder("truncated");
  for (int round = 0; round < 2; ++round) {
    {
      RunningJob job(folder, 0);
      ASSERT_TRUE(kill_one(job, folder + "/out", 60, 160));
      ASSERT_NE(job.wait(), 0);
    }
    const SnapshotFolder snapshots(folder + "/out");
    const auto steps = snapshots.steps();
    ASSERT_TRUE(steps.ok()) << steps.status();
    ASSERT_GE(steps->size(), 2u) << "60 micro-batches are 15 steps";
    const std::string file = snapshots.snapshot_path(steps->front()) +
                             (round == 0 ? "/optimizer.safetensors" : "/state.json");
    fs::resize_file(file, fs::file_size(file) / 2);
  }
  RunningJob job(folder, 0);
  ASSERT_EQ(job.wait(), 0) << testing::read_file(folder + "/log");
  EXPECT_EQ(result_of(folder), expected_);
  const std::string log = testing::read_file(folder + "/log");
  EXPECT_THAT(log, ::testing::HasSubstr("optimizer.safetensors: expected"));
  EXPECT_THAT(log, ::testing::HasSubstr("state.json: expected"));
}

/// A file system of `bytes` at `path`: as root, or in a name space of our own. False when neither
/// is allowed.
bool mount_small(const std::string& path, const std::string& size) {
  const std::string options = "size=" + size;
  if (::mount("gamelan-test", path.c_str(), "tmpfs", 0, options.c_str()) == 0) {
    return true;
  }
  const uid_t uid = ::geteuid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    return false;
  }
  testing::write_file("/proc/self/uid_map", fmt::format("0 {} 1", uid));
  return ::mount("gamelan-test", path.c_str(), "tmpfs", 0, options.c_str()) == 0;
}

// The disk runs full in the middle of the job and is freed later; a worker is killed while it is
// full and another one afterwards.
TEST_F(KillTest, AFullDiskCostsStepsOnly) {
  const std::string folder = new_folder("full");
  fs::create_directories(folder + "/out");
  if (!mount_small(folder + "/out", "1m")) {
    GTEST_SKIP() << "mounting a tmpfs is not allowed here, nor is a user name space";
  }
  {
    RunningJob job(folder, 1000);
    ASSERT_TRUE(job.after_batches(60));
    {
      std::ofstream filler(folder + "/out/snapshot-filler", std::ios::binary);
      const std::string block(4096, 'x');
      while (filler.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
      }
    }
    EXPECT_TRUE(kill_one(job, folder + "/out", 1, 60));
    EXPECT_TRUE(job.after_batches(60));
    fs::remove(folder + "/out/snapshot-filler");
    EXPECT_TRUE(kill_one(job, folder + "/out", 1, 60));
    EXPECT_EQ(job.wait(), 0) << testing::read_file(folder + "/log");
    EXPECT_EQ(result_of(folder), expected_);
    EXPECT_THAT(testing::read_file(folder + "/log"),
                ::testing::HasSubstr("No space left on device"));
  }
  ::umount((folder + "/out").c_str());
}

}  // namespace
}  // namespace gamelan::train
