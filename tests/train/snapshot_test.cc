#include "train/checkpoint/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <torch/torch.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "tests/train/scratch_folder.h"
#include "train/checkpoint/snapshot_files.h"
#include "train/checkpoint/snapshot_folder.h"

namespace gamelan::train {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A snapshot with something in every part; the tensors hold `step`.
Snapshot sample(std::int64_t step) {
  Snapshot snapshot;
  snapshot.progress = {2, step, 7, 112};
  snapshot.model["linear.weight"] = torch::full({3, 5}, static_cast<double>(step));
  snapshot.model["linear.bias"] = torch::full({3}, static_cast<double>(step), torch::kDouble);
  snapshot.model["counter"] = torch::scalar_tensor(step, torch::kLong);
  snapshot.model["empty"] = torch::empty({0, 4}, torch::kBFloat16);
  snapshot.optimizer.type = "AdamW";
  snapshot.optimizer.param_groups = {{{"lr", 0.1}, {"params", {0, 1}}}};
  snapshot.optimizer.state[1]["exp_avg"] = torch::arange(3.0);
  snapshot.optimizer.state[1]["step"] = torch::scalar_tensor(step, torch::kLong);
  snapshot.scheduler = {{"last_step", step}, {"base_lrs", {0.1}}};
  for (int rank = 0; rank < 2; ++rank) {
    RankState state;
    state.rng = torch::full({16}, rank, torch::kByte);
    state.extra = {{"loss_sum", 0.1 + rank}};
    snapshot.ranks.push_back(state);
  }
  snapshot.extra = {{"anything", {1, "two", nullptr}}};
  return snapshot;
}

void expect_equal(const Snapshot& a, const Snapshot& b) {
  EXPECT_EQ(a.progress, b.progress);
  ASSERT_EQ(a.model.size(), b.model.size());
  for (const auto& [name, tensor] : a.model) {
    ASSERT_TRUE(b.model.contains(name)) << name;
    EXPECT_EQ(tensor.scalar_type(), b.model.at(name).scalar_type()) << name;
    EXPECT_TRUE(torch::equal(tensor, b.model.at(name))) << name;
  }
  EXPECT_EQ(a.optimizer.type, b.optimizer.type);
  EXPECT_EQ(a.optimizer.param_groups, b.optimizer.param_groups);
  ASSERT_EQ(a.optimizer.state.size(), b.optimizer.state.size());
  for (const auto& [number, tensors] : a.optimizer.state) {
    for (const auto& [name, tensor] : tensors) {
      EXPECT_TRUE(torch::equal(tensor, b.optimizer.state.at(number).at(name))) << name;
    }
  }
  EXPECT_EQ(a.scheduler, b.scheduler);
  ASSERT_EQ(a.ranks.size(), b.ranks.size());
  for (std::size_t r = 0; r < a.ranks.size(); ++r) {
    EXPECT_TRUE(torch::equal(a.ranks[r].rng, b.ranks[r].rng));
    EXPECT_EQ(a.ranks[r].extra, b.ranks[r].extra);
  }
  EXPECT_EQ(a.extra, b.extra);
}

class SnapshotFolderTest : public ::testing::Test {
 protected:
  std::vector<std::int64_t> steps() { return folder_.steps().value(); }
  std::int64_t newest() {
    const auto loaded = folder_.load_newest();
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() && loaded->snapshot ? loaded->snapshot->progress.step : -1;
  }
  std::string in(std::int64_t step, const char* file) {
    return folder_.snapshot_path(step) + "/" + file;
  }

  testing::ScratchFolder scratch_;
  SnapshotFolder folder_{scratch_.file("out"), {3}};
};

TEST_F(SnapshotFolderTest, GivesBackWhatWasWritten) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(12)).ok());
  const auto loaded = folder_.load_newest();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_TRUE(loaded->snapshot.has_value());
  EXPECT_TRUE(loaded->damaged.empty());
  EXPECT_EQ(loaded->path, folder_.snapshot_path(12));
  expect_equal(sample(12), *loaded->snapshot);
  EXPECT_EQ(read_snapshot_step(loaded->path).value(), 12);
}

TEST_F(SnapshotFolderTest, HasNothingAtTheBeginning) {
  ASSERT_TRUE(folder_.open().ok());
  EXPECT_EQ(newest(), -1);
  EXPECT_FALSE(folder_.read_job().value().has_value());
}

TEST_F(SnapshotFolderTest, KeepsTheNewestByNumber) {
  ASSERT_TRUE(folder_.open().ok());
  for (const std::int64_t step : {8, 9, 10, 11, 100}) {
    ASSERT_TRUE(folder_.write(sample(step)).ok());
  }
  EXPECT_THAT(steps(), ElementsAre(100, 11, 10));
  EXPECT_EQ(newest(), 100);
}

TEST_F(SnapshotFolderTest, ReplacesASnapshotOfTheSameStep) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(5)).ok());
  Snapshot other = sample(5);
  other.extra = "second";
  ASSERT_TRUE(folder_.write(other).ok());
  EXPECT_THAT(steps(), ElementsAre(5));
  EXPECT_EQ(folder_.load_newest()->snapshot->extra, "second");
  EXPECT_EQ(testing::names_in(folder_.path()), std::vector<std::string>{"snapshot-5"});
}

// Every file of the newest snapshot is cut at every 97th byte and has bits flipped there: always
// the one before is used, and the message names the file.
TEST_F(SnapshotFolderTest, FallsBackFromADamagedSnapshot) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(1)).ok());
  ASSERT_TRUE(folder_.write(sample(2)).ok());
  const std::string whole = scratch_.file("whole");
  fs::copy(folder_.snapshot_path(2), whole);
  for (const auto& entry : fs::directory_iterator(whole)) {
    const std::string name = entry.path().filename();
    const std::string bytes = testing::read_file(entry.path());
    for (std::size_t at = 0; at < bytes.size(); at += 97) {
      for (const bool cut : {true, false}) {
        std::string changed = cut ? bytes.substr(0, at) : bytes;
        if (!cut) {
          changed[at] = static_cast<char>(changed[at] ^ 0x10);
        }
        testing::write_file(in(2, name.c_str()), changed);
        const auto loaded = folder_.load_newest();
        ASSERT_TRUE(loaded.ok()) << name << " at " << at << ": " << loaded.status();
        ASSERT_TRUE(loaded->snapshot.has_value());
        ASSERT_EQ(loaded->snapshot->progress.step, 1) << name << " at " << at;
        ASSERT_EQ(loaded->damaged.size(), 1u);
        EXPECT_THAT(std::string(base::message(loaded->damaged[0])), HasSubstr("snapshot-2/"));
        EXPECT_THAT(steps(), ElementsAre(1));
        EXPECT_TRUE(fs::exists(folder_.path() + "/damaged-snapshot-2"));
        fs::copy(whole, folder_.snapshot_path(2), fs::copy_options::recursive);
      }
    }
  }
  EXPECT_EQ(newest(), 2);
}

TEST_F(SnapshotFolderTest, FallsBackFromMissingFilesAndEmptyFolders) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(1)).ok());
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "ranks.safetensors",
                           "state.json", "manifest.json"}) {
    ASSERT_TRUE(folder_.write(sample(2)).ok());
    fs::remove(in(2, file));
    EXPECT_EQ(newest(), 1) << file;
  }
  fs::create_directory(folder_.snapshot_path(9));
  EXPECT_EQ(newest(), 1);
}

TEST_F(SnapshotFolderTest, RefusesASnapshotUnderTheNameOfAnotherStep) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(1)).ok());
  fs::copy(folder_.snapshot_path(1), folder_.snapshot_path(3), fs::copy_options::recursive);
  const auto loaded = folder_.load_newest();
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->snapshot->progress.step, 1);
  EXPECT_THAT(std::string(base::message(loaded->damaged.at(0))),
              HasSubstr("expected a snapshot of step 3"));
}

TEST_F(SnapshotFolderTest, StopsAtAnotherVersion) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(1)).ok());
  ASSERT_TRUE(folder_.write(sample(2)).ok());
  std::string manifest = testing::read_file(in(2, "manifest.json"));
  const std::string version = "\"version\": 1";
  manifest.replace(manifest.find(version), version.size(), "\"version\": 2");
  testing::write_file(in(2, "manifest.json"), manifest);
  const auto loaded = folder_.load_newest();
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(std::string(base::message(loaded.status())), HasSubstr("expected version 1"));
  EXPECT_THAT(steps(), ElementsAre(2, 1)) << "nothing may be set aside";
}

TEST_F(SnapshotFolderTest, SurvivesHostileJson) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(1)).ok());
  ASSERT_TRUE(folder_.write(sample(2)).ok());
  const std::vector<std::string> texts = {
      "",
      "null",
      "[]",
      "{",
      "\"\xff\"",
      std::string(1 << 20, '['),
      R"({"format":"gamelan-snapshot","version":1,"step":2,"files":[]})",
      R"({"format":"gamelan-snapshot","version":1e99,"step":2,"files":{}})",
      R"({"format":"gamelan-snapshot","version":1,"step":2,"files":{"model.safetensors":{"bytes":-1,"sha256":7}}})"};
  for (const std::string& text : texts) {
    testing::write_file(in(2, "manifest.json"), text);
    EXPECT_EQ(newest(), 1) << text.substr(0, 80);
    ASSERT_TRUE(folder_.write(sample(2)).ok());
  }
  for (const std::string& text : texts) {
    EXPECT_FALSE(parse_json(text, "x").ok() &&
                 snapshot_from_json(*parse_json(text, "x"), "x").ok());
  }
}

TEST_F(SnapshotFolderTest, RemovesLeftoversOfAKilledWriter) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(1)).ok());
  fs::create_directory(folder_.path() + "/.tmp-snapshot-2");
  testing::write_file(folder_.path() + "/.tmp-snapshot-2/model.safetensors", "half");
  SnapshotFolder again(folder_.path());
  ASSERT_TRUE(again.open().ok());
  EXPECT_EQ(testing::names_in(folder_.path()), std::vector<std::string>{"snapshot-1"});
}

TEST_F(SnapshotFolderTest, RefusesAFolderOfSomethingElse) {
  fs::create_directories(folder_.path());
  testing::write_file(folder_.path() + "/thesis.txt", "x");
  const base::Status status = folder_.open();
  EXPECT_EQ(status.code(), base::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(base::message(status)), HasSubstr("thesis.txt"));
  EXPECT_THAT(std::string(base::message(status)), HasSubstr("--overwrite-output-dir"));
  EXPECT_TRUE(folder_.open(/*allow_foreign=*/true).ok());
  ASSERT_TRUE(folder_.write_job({{"finished", false}}).ok());
  EXPECT_TRUE(folder_.open().ok()) << "a job's folder may hold other files";
}

TEST_F(SnapshotFolderTest, RemovesAJobAndNothingElse) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write_job({{"finished", true}}).ok());
  ASSERT_TRUE(folder_.write(sample(1)).ok());
  ASSERT_TRUE(folder_.write(sample(2)).ok());
  fs::remove(in(2, "state.json"));
  EXPECT_EQ(newest(), 1);
  testing::write_file(folder_.path() + "/notes.txt", "x");
  ASSERT_TRUE(folder_.remove_job().ok());
  EXPECT_EQ(testing::names_in(folder_.path()), std::vector<std::string>{"notes.txt"});
}

TEST_F(SnapshotFolderTest, SaysWhatIsWrongWithAFolder) {
  testing::write_file(scratch_.file("file"), "x");
  const base::Status status = SnapshotFolder(scratch_.file("file")).open();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(base::message(status)), HasSubstr("output_dir"));
  if (::geteuid() != 0) {
    fs::permissions(scratch_.path(), fs::perms::owner_read | fs::perms::owner_exec);
    const base::Status refused = folder_.open();
    fs::permissions(scratch_.path(), fs::perms::owner_all);
    EXPECT_EQ(refused.code(), base::StatusCode::kPermissionDenied);
    EXPECT_THAT(std::string(base::message(refused)), HasSubstr(folder_.path()));
  }
}

// RLIMIT_FSIZE makes every write beyond it fail, in a process of its own: as a full disk, but
// without one.
TEST_F(SnapshotFolderTest, AFailedWriteLeavesTheEarlierOnes) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(1)).ok());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {300, 300};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const base::Status status = folder_.write(sample(2));
    ::_exit(!status.ok() &&
                    base::message(status).find("snapshot of step 2") != std::string_view::npos
                ? 0
                : 1);
  }
  int result = -1;
  ASSERT_EQ(::waitpid(child, &result, 0), child);
  EXPECT_TRUE(WIFEXITED(result) && WEXITSTATUS(result) == 0);
  EXPECT_EQ(testing::names_in(folder_.path()), std::vector<std::string>{"snapshot-1"});
  EXPECT_EQ(newest(), 1);
}

// A process that writes one snapshot after the other is killed at random moments: whatever is there
// afterwards is whole.
TEST_F(SnapshotFolderTest, AKilledWriterLeavesOnlyWholeSnapshots) {
  ASSERT_TRUE(folder_.open().ok());
  ASSERT_TRUE(folder_.write(sample(1)).ok());
  for (int round = 0; round < 20; ++round) {
    const std::int64_t first = steps().front() + 1;
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (std::int64_t step = first; folder_.write(sample(step)).ok(); ++step) {
        [[maybe_unused]] const ssize_t ignored = ::write(ready[1], "x", 1);
      }
      ::_exit(1);
    }
    char byte = 0;
    for (int i = 0; i <= round % 3; ++i) {
      ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    }
    ::usleep(static_cast<useconds_t>(137 * round));  // a moment within the next write
    ::kill(child, SIGKILL);
    int result = 0;
    ASSERT_EQ(::waitpid(child, &result, 0), child);
    ::close(ready[0]);
    ::close(ready[1]);
    for (const std::int64_t step : steps()) {
      const auto snapshot = read_snapshot_files(folder_.snapshot_path(step));
      ASSERT_TRUE(snapshot.ok()) << snapshot.status();
    }
    ASSERT_GE(newest(), first);
  }
}

TEST(ModelStateTest, LoadsOnlyWhatFits) {
  torch::nn::Sequential model(torch::nn::Linear(3, 2), torch::nn::BatchNorm1d(2));
  torch::nn::Sequential other(torch::nn::Linear(3, 2), torch::nn::BatchNorm1d(2));
  auto state = model_state(*model);
  EXPECT_EQ(state.size(), 7u);
  load_model_state(*other, state);
  for (const auto& [name, tensor] : model_state(*other)) {
    EXPECT_TRUE(torch::equal(tensor, state.at(name))) << name;
  }
  const auto message_of = [&other](const std::map<std::string, at::Tensor>& bad) -> std::string {
    try {
      load_model_state(*other, bad);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "";
  };
  auto missing = state;
  missing.erase("0.weight");
  missing["0.wait"] = torch::zeros({2, 3});
  EXPECT_THAT(message_of(missing), HasSubstr("'0.weight'"));
  EXPECT_THAT(message_of(missing), HasSubstr("'0.wait'"));
  auto wrong = state;
  wrong["0.weight"] = torch::zeros({3, 2});
  EXPECT_THAT(message_of(wrong), HasSubstr("expected [2, 3] of Float, got [3, 2] of Float"));
}

TEST(RngStateTest, Continues) {
  torch::manual_seed(7);
  torch::rand({5});
  torch::randn({3});
  const at::Tensor state = rng_state();
  const at::Tensor expected = torch::randn({100});
  torch::manual_seed(8);
  set_rng_state(state);
  EXPECT_TRUE(torch::equal(torch::randn({100}), expected));
  EXPECT_THROW(set_rng_state(torch::zeros({3}, torch::kByte)), c10::Error);
}

}  // namespace
}  // namespace gamelan::train
