#include "tests/support/ranks.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mutex.h"
#include "dist/store/hash_store.h"
#include "dist/store/tcp_store.h"
#include "net/socket.h"
#include "tests/support/entry.h"

namespace gamelan::testing {
namespace {

std::map<std::string, RankBody>& bodies() {
  static std::map<std::string, RankBody> value;
  return value;
}

RankBody find_body(const std::string& name) {
  const auto found = bodies().find(name);
  if (found == bodies().end()) {
    throw std::runtime_error("no rank body is registered as '" + name + "'");
  }
  return found->second;
}

void run_body(RankBody body, Rank& rank) {
  try {
    body(rank);
  } catch (const std::exception& error) {
    ADD_FAILURE() << "rank " << rank.rank << " of " << rank.size << " threw: " << error.what();
  }
}

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::shared_ptr<dist::TcpStore> open_store(bool server, const net::Endpoint& endpoint) {
  dist::TcpStoreOptions options;
  options.endpoint = endpoint;
  options.is_server = server;
  auto store = dist::TcpStore::create(options);
  if (!store.ok()) {
    throw std::runtime_error("store: " + std::string(base::message(store.status())));
  }
  return *std::move(store);
}

[[maybe_unused]] const bool entry_is_set = [] {
  entry() = &run_as_rank;
  return true;
}();

}  // namespace

std::string to_string(RankMode mode) {
  return mode == RankMode::kThreads ? "threads" : "processes";
}

bool register_rank_body(const char* name, RankBody body) {
  bodies()[name] = body;
  return true;
}

std::unique_ptr<dist::ProcessGroup> form_group_for_test(Rank& rank, const std::string& backend,
                                                        const std::string& name,
                                                        std::optional<dist::InitOptions> options) {
  dist::InitOptions init;
  if (options) {
    init = *options;
  } else {
    init.timeout = std::chrono::seconds(30);
  }
  init.backend = backend;
  if (!init.generation) {
    init.generation = 0;
  }
  auto group = dist::form_group(rank.store, rank.rank, rank.size, name, init);
  if (!group.ok()) {
    throw std::runtime_error("group: " + std::string(base::message(group.status())));
  }
  return *std::move(group);
}

// ---- processes ----

class RankProcesses::Impl {
 public:
  Impl(int size, const std::string& body, const std::string& argument)
      : store_(open_store(true, {"127.0.0.1", 0})) {
    // Everything is allocated before fork: other threads of this process may hold the allocator's
    // lock.
    for (int rank = 0; rank < size; ++rank) {
      start(rank, size, body, argument);
    }
  }

  ~Impl() {
    for (std::size_t rank = 0; rank < pids_.size(); ++rank) {
      if (!ended_[rank]) {
        ::kill(pids_[rank], SIGKILL);
        wait(static_cast<int>(rank), std::chrono::seconds(10));
      }
    }
  }

  dist::Store& store() { return *store_; }
  pid_t pid(int rank) const { return pids_[static_cast<std::size_t>(rank)]; }

  RankExit wait(int rank, std::chrono::milliseconds timeout) {
    const auto index = static_cast<std::size_t>(rank);
    if (ended_[index]) {
      return *ended_[index];
    }
    const base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pids_[index], 0)));
    pollfd poll_process{process.get(), POLLIN, 0};
    RankExit result;
    if (::poll(&poll_process, 1, base::poll_timeout(base::deadline_after(timeout))) == 1) {
      int status = 0;
      ::waitpid(pids_[index], &status, 0);
      result.exited = true;
      if (WIFSIGNALED(status)) {
        result.signal = WTERMSIG(status);
      } else {
        result.code = WEXITSTATUS(status);
      }
      ended_[index] = result;
    }
    return result;
  }

 private:
  void start(int rank, int size, const std::string& body, const std::string& argument) {
    std::vector<std::string> environment;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string_view text(*entry);
      // Options of the test runner are for the test, not for its ranks.
      if (!text.starts_with("GTEST_") && !text.starts_with("GAMELAN_TEST_")) {
        environment.emplace_back(text);
      }
    }
    environment.push_back("GAMELAN_TEST_BODY=" + body);
    environment.push_back("GAMELAN_TEST_ARGUMENT=" + argument);
    environment.push_back("GAMELAN_TEST_RANK=" + std::to_string(rank));
    environment.push_back("GAMELAN_TEST_SIZE=" + std::to_string(size));
    environment.push_back("GAMELAN_TEST_STORE=" + net::to_string(store_->endpoint()));
    std::vector<char*> pointers;
    for (std::string& entry : environment) {
      pointers.push_back(entry.data());
    }
    pointers.push_back(nullptr);
    char program[] = "/proc/self/exe";
    char name[] = "rank";
    char* arguments[] = {name, nullptr};
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() == parent) {
        ::execve(program, arguments, pointers.data());
      }
      ::_exit(127);
    }
    pids_.push_back(pid);
    ended_.emplace_back();
  }

  std::shared_ptr<dist::TcpStore> store_;
  std::vector<pid_t> pids_;
  std::vector<std::optional<RankExit>> ended_;
};

RankProcesses::RankProcesses(int size, const std::string& body, const std::string& argument)
    : impl_(std::make_unique<Impl>(size, body, argument)) {}
RankProcesses::~RankProcesses() = default;
dist::Store& RankProcesses::store() {
  return impl_->store();
}
pid_t RankProcesses::pid(int rank) const {
  return impl_->pid(rank);
}
void RankProcesses::signal(int rank, int number) {
  ::kill(impl_->pid(rank), number);
}
RankExit RankProcesses::wait(int rank, std::chrono::milliseconds timeout) {
  return impl_->wait(rank, timeout);
}

std::optional<int> run_as_rank() {
  const std::string name = variable("GAMELAN_TEST_BODY");
  if (name.empty()) {
    return std::nullopt;
  }
  Rank rank;
  rank.rank = std::atoi(variable("GAMELAN_TEST_RANK").c_str());
  rank.size = std::atoi(variable("GAMELAN_TEST_SIZE").c_str());
  rank.mode = RankMode::kProcesses;
  rank.argument = variable("GAMELAN_TEST_ARGUMENT");
  base::set_log_prefix("rank " + std::to_string(rank.rank));
  const auto endpoint = net::parse_endpoint(variable("GAMELAN_TEST_STORE"));
  if (!endpoint.ok()) {
    return 2;
  }
  try {
    rank.store = open_store(false, *endpoint);
    run_body(find_body(name), rank);
    rank.store.reset();
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what();
  }
  // Outside of a test gtest counts failures here.
  return ::testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed() ? 1 : 0;
}

// ---- threads ----

namespace {

void run_threads(int size, RankBody body, const std::string& argument,
                 std::chrono::seconds timeout) {
  const auto store = std::make_shared<dist::HashStore>();
  base::Mutex mutex;
  base::CondVar changed;
  int running = size;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      Rank own{rank, size, RankMode::kThreads, argument, store};
      run_body(body, own);
      const base::MutexLock lock(mutex);
      --running;
      changed.notify_all();
    });
  }
  {
    const base::TimePoint deadline = base::deadline_after(timeout);
    const base::MutexLock lock(mutex);
    while (running > 0 && changed.wait_until(mutex, deadline)) {
    }
    if (running > 0) {
      // A thread cannot be ended from outside: what it refers to must not go away under it.
      std::fprintf(stderr, "%d of %d rank threads have not ended after %lld s\n", running, size,
                   static_cast<long long>(timeout.count()));
      std::abort();
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

}  // namespace

void run_ranks(RankMode mode, int size, const std::string& body, const std::string& argument,
               std::chrono::seconds timeout) {
  SCOPED_TRACE("body " + body + ", " + std::to_string(size) + " " + to_string(mode) +
               ", argument '" + argument + "'");
  const RankBody found = find_body(body);
  if (mode == RankMode::kThreads) {
    run_threads(size, found, argument, timeout);
    return;
  }
  RankProcesses processes(size, body, argument);
  const base::TimePoint deadline = base::deadline_after(timeout);
  for (int rank = 0; rank < size; ++rank) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - base::Clock::now());
    const RankExit end = processes.wait(rank, std::max(left, std::chrono::milliseconds(1)));
    EXPECT_TRUE(end.exited) << "rank " << rank << " has not ended after " << timeout.count()
                            << " s";
    if (end.exited) {
      EXPECT_EQ(end.signal, 0) << "signal of rank " << rank;
      EXPECT_EQ(end.code, 0) << "exit code of rank " << rank;
    }
  }
}

}  // namespace gamelan::testing
