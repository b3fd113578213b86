#pragma once

// Runs the same body on N ranks, as threads of this process or as processes of their own. A body is
// registered by name, because a process is started by fork and exec of the test program itself:
//
//   GAMELAN_RANK_BODY(sums_ranks) {
//     auto group = form_group_for_test(rank);
//     ...
//     EXPECT_EQ(value, 3);
//   }
//   TEST(GroupTest, SumsRanks) {
//     for (RankMode mode : {RankMode::kThreads, RankMode::kProcesses}) {
//       run_ranks(mode, 3, "sums_ranks");
//     }
//   }
//
// A failed EXPECT or ASSERT, or an exception, in any rank fails the test that started it.

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dist/collective/process_group.h"
#include "dist/rendezvous/init.h"
#include "dist/store/store.h"

namespace gamelan::testing {

enum class RankMode { kThreads, kProcesses };
std::string to_string(RankMode mode);

/// What a body gets.
struct Rank {
  int rank = 0;
  int size = 1;
  RankMode mode = RankMode::kThreads;
  /// Whatever the test passed.
  std::string argument;
  /// Shared by all ranks and the test: a HashStore for threads, a client of the test's TcpStore for
  /// processes.
  std::shared_ptr<dist::Store> store;
};

using RankBody = void (*)(Rank& rank);

/// Registers a body at start-up; returns true.
bool register_rank_body(const char* name, RankBody body);

#define GAMELAN_RANK_BODY(name)                                         \
  static void rank_body_##name(::gamelan::testing::Rank& rank);         \
  [[maybe_unused]] static const bool rank_body_registered_##name =      \
      ::gamelan::testing::register_rank_body(#name, &rank_body_##name); \
  static void rank_body_##name([[maybe_unused]] ::gamelan::testing::Rank& rank)

/// The group of all ranks over `rank.store`, with a timeout of 30 s unless `options` says
/// otherwise; aborts the body by an exception when it cannot be formed.
std::unique_ptr<dist::ProcessGroup> form_group_for_test(
    Rank& rank, const std::string& backend = "cpu", const std::string& name = "test",
    std::optional<dist::InitOptions> options = {});

/// Runs `body` on `size` ranks and waits for all of them; one that has not ended after `timeout`
/// fails the test (and is killed, when it is a process).
void run_ranks(RankMode mode, int size, const std::string& body, const std::string& argument = "",
               std::chrono::seconds timeout = std::chrono::seconds(60));

/// How a rank process ended.
struct RankExit {
  bool exited = false;  ///< false: still running when its time was over
  int code = -1;        ///< exit code, when it was not a signal
  int signal = 0;
};

/// Rank processes that the test can kill. Kills what is left when destroyed.
class RankProcesses {
 public:
  RankProcesses(int size, const std::string& body, const std::string& argument = "");
  ~RankProcesses();
  RankProcesses(const RankProcesses&) = delete;
  RankProcesses& operator=(const RankProcesses&) = delete;

  /// The store of the ranks (its server is in this process): to talk with the bodies without
  /// sleeping.
  dist::Store& store();
  pid_t pid(int rank) const;
  /// Sends a signal.
  void signal(int rank, int number);
  /// Waits for one rank.
  RankExit wait(int rank, std::chrono::milliseconds timeout = std::chrono::seconds(60));

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Runs the body named in the environment, when this process was started as a rank, and returns its
/// exit code; nullopt in a test program that a person started. Called by main.
std::optional<int> run_as_rank();

}  // namespace gamelan::testing
