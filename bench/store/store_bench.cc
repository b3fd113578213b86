// The store's `add` beside a bare blocking TCP ping-pong of messages of the same size, interleaved
// in one run; then a thousand clients that connect and meet. The servers are processes of their
// own.

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "bench/support/machine.h"
#include "bench/support/statistics.h"
#include "dist/store/store_server.h"
#include "dist/store/tcp_store.h"
#include "net/socket.h"

namespace gamelan::bench {
namespace {

// An add of the key "counter": frame header, fixed fields and key out, header, number and empty
// list back.
constexpr std::size_t kRequestBytes = 16 + 12 + 4 + 4 + 7 + 4;
constexpr std::size_t kReplyBytes = 16 + 8 + 4;

struct Options {
  int rounds = 9;
  int calls = 2000;
  int connections = 1000;
  int server_spin_us = 0;
  bool pin = true;
  bool json = false;
};

struct Row {
  std::string name;
  std::function<void()> call;
  std::vector<double> samples_us;
  std::vector<double> medians_us;
};

/// A process of its own that dies with this one.
pid_t start_process(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();
    ::_exit(0);
  }
  return child;
}

[[noreturn]] void fail(const base::Status& status) {
  fmt::print(stderr, "{}\n", base::message(status));
  std::exit(1);
}

template <class T>
T value_or_fail(base::StatusOr<T> value) {
  if (!value.ok()) {
    fail(value.status());
  }
  return *std::move(value);
}

/// The peer that is measured against: plain blocking calls, nothing else.
void blocking_exchange(int fd, std::size_t send_bytes, std::size_t receive_bytes, bool send_first) {
  char buffer[64] = {};
  if (send_first && ::send(fd, buffer, send_bytes, MSG_NOSIGNAL) < 0) {
    ::_exit(1);
  }
  for (std::size_t got = 0; got < receive_bytes;) {
    const ssize_t count = ::recv(fd, buffer, sizeof(buffer), 0);
    if (count <= 0) {
      ::_exit(0);
    }
    got += static_cast<std::size_t>(count);
  }
  if (!send_first && ::send(fd, buffer, send_bytes, MSG_NOSIGNAL) < 0) {
    ::_exit(0);
  }
}

void serve_ping_pong(base::Fd listener, bool pin) {
  if (pin) {
    pin_to_cpu(1);
  }
  const base::Fd fd = value_or_fail(net::accept(listener.get(), base::TimePoint::max()));
  while (true) {
    blocking_exchange(fd.get(), kReplyBytes, kRequestBytes, false);
  }
}

void serve_store(base::Fd listener, const Options& options) {
  if (options.pin) {
    pin_to_cpu(1);
  }
  dist::StoreServerOptions server;
  server.listener = std::move(listener);
  server.spin = std::chrono::microseconds(options.server_spin_us);
  const auto running = value_or_fail(dist::StoreServer::start(std::move(server)));
  while (true) {
    ::pause();
  }
}

std::shared_ptr<dist::TcpStore> connect(const net::Endpoint& endpoint,
                                        std::chrono::microseconds spin) {
  dist::TcpStoreOptions options;
  options.endpoint = endpoint;
  options.spin = spin;
  return value_or_fail(dist::TcpStore::create(std::move(options)));
}

void measure(std::vector<Row>& rows, const Options& options) {
  for (int round = -1; round < options.rounds; ++round) {  // the first round warms up
    for (Row& row : rows) {
      std::vector<double> samples;
      for (int call = 0; call < options.calls; ++call) {
        const auto start = base::Clock::now();
        row.call();
        samples.push_back(1e6 * base::seconds(base::Clock::now() - start));
      }
      if (round >= 0) {
        row.medians_us.push_back(median(samples));
        row.samples_us.insert(row.samples_us.end(), samples.begin(), samples.end());
      }
    }
  }
}

/// Seconds until `count` clients of this process have connected and passed a joint wait.
double meet(const net::Endpoint& endpoint, int count) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  std::vector<std::thread> threads;
  const auto start = base::Clock::now();
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      const auto store = connect(endpoint, std::chrono::microseconds(0));
      if (value_or_fail(store->add("arrived", 1)) == count) {
        store->set("go", "").IgnoreError();
      }
      if (const base::Status status = store->wait({"go"}); !status.ok()) {
        fail(status);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  return base::seconds(base::Clock::now() - start);
}

void report(const Machine& machine, const std::vector<Row>& rows, double met_seconds,
            const Options& options) {
  const double bare = median(rows[0].samples_us);
  if (options.json) {
    nlohmann::json result = {{"machine", to_json(machine)},
                             {"connections", options.connections},
                             {"met_seconds", met_seconds}};
    for (const Row& row : rows) {
      result["rows"].push_back({{"name", row.name},
                                {"median_us", median(row.samples_us)},
                                {"p99_us", quantile(row.samples_us, 0.99)},
                                {"round_medians_us", row.medians_us},
                                {"ratio_to_ping_pong", median(row.samples_us) / bare}});
    }
    fmt::print("{}\n", result.dump(2));
    return;
  }
  fmt::print("{}\n", describe(machine));
  fmt::print("{} rounds of {} calls, interleaved; microseconds\n", options.rounds, options.calls);
  fmt::print("{:<28} {:>8} {:>8} {:>17} {:>7}\n", "", "median", "p99", "round medians", "ratio");
  for (const Row& row : rows) {
    fmt::print("{:<28} {:>8.1f} {:>8.1f} {:>8.1f}…{:<8.1f} {:>7.2f}\n", row.name,
               median(row.samples_us), quantile(row.samples_us, 0.99), quantile(row.medians_us, 0),
               quantile(row.medians_us, 1), median(row.samples_us) / bare);
  }
  fmt::print("{} connections connected and past a joint wait: {:.3f} s\n", options.connections,
             met_seconds);
}

int run(const Options& options) {
  const Machine machine = this_machine();  // before pinning
  // The servers are forked before this process has threads.
  base::Fd ping_listener = value_or_fail(net::listen_tcp({"127.0.0.1", 0}));
  base::Fd store_listener = value_or_fail(net::listen_tcp({"127.0.0.1", 0}));
  const net::Endpoint ping_endpoint = value_or_fail(net::local_endpoint(ping_listener.get()));
  const net::Endpoint store_endpoint = value_or_fail(net::local_endpoint(store_listener.get()));
  const pid_t servers[] = {
      start_process([&] { serve_ping_pong(std::move(ping_listener), options.pin); }),
      start_process([&] { serve_store(std::move(store_listener), options); })};
  ping_listener.reset();
  store_listener.reset();

  const double met = meet(store_endpoint, options.connections);
  if (options.pin) {
    pin_to_cpu(0);
  }
  const base::Fd ping = value_or_fail(
      net::connect_tcp(ping_endpoint, base::deadline_after(std::chrono::seconds(10))));
  const auto polling = connect(store_endpoint, dist::TcpStoreOptions().spin);
  const auto sleeping = connect(store_endpoint, std::chrono::microseconds(0));
  const auto add_to = [](const std::shared_ptr<dist::TcpStore>& store) {
    return [store] {
      if (const auto sum = store->add("counter", 1); !sum.ok()) {
        fail(sum.status());
      }
    };
  };
  std::vector<Row> rows;
  rows.push_back({"bare blocking ping-pong",
                  [&] { blocking_exchange(ping.get(), kRequestBytes, kReplyBytes, true); },
                  {},
                  {}});
  rows.push_back({"add", add_to(polling), {}, {}});
  rows.push_back({"add, client never polls", add_to(sleeping), {}, {}});
  measure(rows, options);
  report(machine, rows, met, options);
  for (const pid_t server : servers) {
    ::kill(server, SIGKILL);
    ::waitpid(server, nullptr, 0);
  }
  return 0;
}

}  // namespace
}  // namespace gamelan::bench

int main(int argc, char** argv) {
  gamelan::bench::Options options;
  CLI::App app("The store's add beside a bare TCP ping-pong. Example: gamelan_store_bench --json");
  app.add_option("--rounds", options.rounds, "Rounds of each, interleaved")
      ->check(CLI::PositiveNumber);
  app.add_option("--calls", options.calls, "Calls of each in a round")->check(CLI::PositiveNumber);
  app.add_option("--connections", options.connections, "Clients that connect and meet")
      ->check(CLI::PositiveNumber);
  app.add_option("--server-spin-us", options.server_spin_us,
                 "How long the server polls after a request");
  app.add_flag("!--no-pin", options.pin, "Do not bind client and servers to CPUs");
  app.add_flag("--json", options.json, "Print JSON");
  CLI11_PARSE(app, argc, argv);
  return gamelan::bench::run(options);
}
