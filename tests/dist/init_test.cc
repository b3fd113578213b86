#include "dist/rendezvous/init.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <thread>

#include "dist/rendezvous/init_method.h"
#include "dist/store/tcp_store.h"
#include "net/socket.h"
#include "tests/support/ranks.h"

namespace gamelan::dist {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string text(const base::Status& status) {
  return std::string(base::message(status));
}

/// Sets environment variables for a scope; "" unsets.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& values) {
    for (const auto& [name, value] : values) {
      const char* const old = std::getenv(name.c_str());
      old_[name] = old == nullptr ? std::nullopt : std::optional<std::string>(old);
      set(name, value.empty() ? std::nullopt : std::optional(value));
    }
  }
  ~Environment() {
    for (const auto& [name, value] : old_) {
      set(name, value);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  static void set(const std::string& name, const std::optional<std::string>& value) {
    if (value) {
      ::setenv(name.c_str(), value->c_str(), 1);
    } else {
      ::unsetenv(name.c_str());
    }
  }
  std::map<std::string, std::optional<std::string>> old_;
};

const std::map<std::string, std::string> kNothing = {{"RANK", ""},
                                                     {"WORLD_SIZE", ""},
                                                     {"MASTER_ADDR", ""},
                                                     {"MASTER_PORT", ""},
                                                     {"GAMELAN_STORE", ""},
                                                     {"TORCHELASTIC_USE_AGENT_STORE", ""},
                                                     {"TORCHELASTIC_RESTART_COUNT", ""}};

std::uint16_t free_port() {
  const auto listener = net::listen_tcp({"127.0.0.1", 0});
  return net::local_endpoint(listener->get())->port;
}

TEST(InitMethodTest, ErrorsSayWhatIsMissing) {
  const Environment clean(kNothing);
  const auto error = [](const char* method, int rank = -1, int size = -1) {
    const auto result = parse_init_method(method, rank, size);
    EXPECT_EQ(result.status().code(), base::StatusCode::kInvalidArgument) << method;
    return text(result.status());
  };
  EXPECT_THAT(error("tcp://127.0.0.1", 0, 1), HasSubstr("port number missing"));
  EXPECT_THAT(error("tcp://127.0.0.1:99999", 0, 1), HasSubstr("port number missing"));
  EXPECT_THAT(error("tcp://127.0.0.1:23456"), HasSubstr("rank parameter missing"));
  EXPECT_THAT(error("tcp://127.0.0.1:23456?rank=0"), HasSubstr("size parameter missing"));
  EXPECT_THAT(error("file:///tmp/x", 0, 1), HasSubstr("No rendezvous handler"));
  EXPECT_THAT(error("nonsense"), HasSubstr("No rendezvous handler"));
  EXPECT_THAT(error("env://?rank=0", 0), HasSubstr("has node-specific arguments"));
  EXPECT_THAT(error("tcp://127.0.0.1:1?colour=red"), HasSubstr("got 'colour=red'"));
  EXPECT_THAT(error("tcp://127.0.0.1:1?rank=x&world_size=2"),
              HasSubstr("rank is 'x', expected a number"));
  EXPECT_THAT(error("tcp://127.0.0.1:1?rank=2&world_size=2"),
              HasSubstr("rank 2 does not fit a world size of 2"));
  EXPECT_THAT(error("env://"), HasSubstr("environment variable RANK expected, but not set"));
  EXPECT_THAT(error("env://", 0), HasSubstr("environment variable WORLD_SIZE expected"));
  EXPECT_THAT(error("env://", 0, 1), HasSubstr("environment variable MASTER_ADDR expected"));
}

TEST(InitMethodTest, ArgumentsTheMethodAndTheEnvironmentAgree) {
  const Environment environment({{"RANK", "1"},
                                 {"WORLD_SIZE", "3"},
                                 {"MASTER_ADDR", "::1"},
                                 {"MASTER_PORT", "2000"},
                                 {"GAMELAN_STORE", "10.0.0.1:5"},
                                 {"TORCHELASTIC_USE_AGENT_STORE", ""}});
  const auto plain = parse_init_method("env://", -1, -1);
  ASSERT_TRUE(plain.ok()) << text(plain.status());
  EXPECT_EQ(plain->rank, 1);
  EXPECT_EQ(plain->world_size, 3);
  EXPECT_EQ(plain->master, (net::Endpoint{"::1", 2000}));
  EXPECT_FALSE(plain->agent_store);
  const auto overridden = parse_init_method("env://?rank=2&world_size=4", -1, -1);
  ASSERT_TRUE(overridden.ok());
  EXPECT_EQ(overridden->rank, 2);
  EXPECT_EQ(overridden->world_size, 4);
  EXPECT_EQ(parse_init_method("env://", 0, -1)->rank, 0);
  const auto tcp = parse_init_method("tcp://[::1]:77?world_size=2&rank=1", -1, -1);
  ASSERT_TRUE(tcp.ok());
  EXPECT_EQ(tcp->master.port, 77);
  {
    const Environment no_master({{"MASTER_ADDR", ""}, {"MASTER_PORT", ""}});
    const auto agent = parse_init_method("env://", -1, -1);
    ASSERT_TRUE(agent.ok());
    EXPECT_TRUE(agent->agent_store);
    EXPECT_EQ(agent->master, (net::Endpoint{"10.0.0.1", 5}));
  }
  const std::map<std::string, std::string> use_agent = {{"TORCHELASTIC_USE_AGENT_STORE", "True"}};
  const Environment elastic(use_agent);
  EXPECT_TRUE(parse_init_method("env://", -1, -1)->agent_store);
}

InitOptions options_for(std::uint16_t port, int rank, int size) {
  InitOptions options;
  options.init_method = "tcp://127.0.0.1:" + std::to_string(port);
  options.rank = rank;
  options.world_size = size;
  options.timeout = std::chrono::seconds(20);
  return options;
}

GAMELAN_RANK_BODY(init_tcp) {
  InitOptions options = options_for(static_cast<std::uint16_t>(std::atoi(rank.argument.c_str())),
                                    rank.rank, rank.size);
  options.generation = 0;
  auto job = init_process_group(options);
  ASSERT_TRUE(job.ok()) << text(job.status());
  float value = static_cast<float>(rank.rank + 1);
  EXPECT_TRUE(job->group->all_reduce(tensor::view_of(&value, 1)).wait().ok());
  EXPECT_EQ(value, static_cast<float>(rank.size * (rank.size + 1)) / 2);
  // The store goes on being of use, for another group of the same ranks too.
  const auto second = form_group(job->store, rank.rank, rank.size, "second", options);
  ASSERT_TRUE(second.ok()) << text(second.status());
  EXPECT_TRUE((*second)->barrier().wait().ok());
  EXPECT_TRUE(job->group->barrier().wait().ok());
}

TEST(InitTest, RankZeroHostsTheStore) {
  testing::run_ranks(testing::RankMode::kThreads, 3, "init_tcp", std::to_string(free_port()));
  testing::run_ranks(testing::RankMode::kProcesses, 4, "init_tcp", std::to_string(free_port()));
}

GAMELAN_RANK_BODY(init_env) {
  ::setenv("RANK", std::to_string(rank.rank).c_str(), 1);
  ::setenv("WORLD_SIZE", std::to_string(rank.size).c_str(), 1);
  ::setenv("GAMELAN_STORE", rank.argument.c_str(), 1);
  ::unsetenv("MASTER_ADDR");
  ::unsetenv("MASTER_PORT");
  for (const char* const attempt : {"0", "1"}) {
    ::setenv("TORCHELASTIC_RESTART_COUNT", attempt, 1);
    auto job = init_process_group();
    ASSERT_TRUE(job.ok()) << text(job.status());
    EXPECT_EQ(job->group->generation(), static_cast<std::uint64_t>(std::atoi(attempt)));
    EXPECT_TRUE(job->group->barrier().wait().ok());
  }
}

TEST(InitTest, TheAgentsStoreServesEveryAttempt) {
  TcpStoreOptions options;
  options.endpoint = {"127.0.0.1", 0};
  options.is_server = true;
  const auto store = TcpStore::create(options);
  ASSERT_TRUE(store.ok());
  testing::run_ranks(testing::RankMode::kProcesses, 2, "init_env",
                     net::to_string((*store)->endpoint()));
}

TEST(InitTest, AMissingRankIsNamedOnEveryRankAlthoughRankZeroHostsTheStore) {
  const std::uint16_t port = free_port();
  InitOptions options = options_for(port, 0, 3);
  options.timeout = milliseconds(600);
  base::Status zero;
  std::thread first([&] { zero = init_process_group(options).status(); });
  InitOptions later = options_for(port, 1, 3);
  const base::Status one = init_process_group(later).status();
  first.join();
  for (const base::Status& status : {zero, one}) {
    EXPECT_EQ(status.code(), base::StatusCode::kDeadlineExceeded) << text(status);
    EXPECT_THAT(text(status), HasSubstr("rank 2 of 3 did not arrive"));
  }
}

TEST(InitTest, NobodyHostsTheStore) {
  InitOptions options = options_for(free_port(), 1, 2);
  options.timeout = milliseconds(200);
  const base::Status status = init_process_group(options).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(text(status), AllOf(HasSubstr("rank 1 connects to the store at 127.0.0.1:"),
                                  HasSubstr("which rank 0 hosts")));
}

TEST(InitTest, APortInUseIsSaid) {
  const auto listener = net::listen_tcp({"127.0.0.1", 0});
  ASSERT_TRUE(listener.ok());
  const base::Status status =
      init_process_group(options_for(net::local_endpoint(listener->get())->port, 0, 1)).status();
  EXPECT_EQ(status.code(), base::StatusCode::kAlreadyExists) << text(status);
}

TEST(InitTest, AnotherTokenIsRefused) {
  const std::uint16_t port = free_port();
  InitOptions options = options_for(port, 0, 2);
  options.token = net::Token("right");
  options.timeout = milliseconds(800);
  std::thread first([&] { EXPECT_FALSE(init_process_group(options).ok()); });
  InitOptions stranger = options_for(port, 1, 2);
  stranger.token = net::Token("wrong");
  EXPECT_EQ(init_process_group(stranger).status().code(), base::StatusCode::kPermissionDenied);
  first.join();
}

TEST(InitTest, UnknownBackendsAreRefused) {
  InitOptions options = options_for(1, 0, 1);
  options.backend = "nccl";
  EXPECT_THAT(text(init_process_group(options).status()),
              HasSubstr("unknown backend 'nccl'; expected cpu, gloo, tcp or shm"));
}

TEST(InitTest, OneRankNeedsNobody) {
  auto job = init_process_group(options_for(free_port(), 0, 1));
  ASSERT_TRUE(job.ok()) << text(job.status());
  float value = 3;
  EXPECT_TRUE(job->group->all_reduce(tensor::view_of(&value, 1)).wait().ok());
  EXPECT_EQ(value, 3);
}

}  // namespace
}  // namespace gamelan::dist
