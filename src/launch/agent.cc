#include "launch/agent.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <vector>

#include "base/log.h"
#include "launch/poll_set.h"
#include "launch/process_tree.h"
#include "net/socket.h"

namespace gamelan::launch {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kNoticeInterval{5};
constexpr milliseconds kRedialPause{250};
/// For the last teed output to reach a console that may be slow.
constexpr seconds kDrain{2};
/// After a signal the agent waits this much longer than the workers' grace for node 0's last word.
constexpr seconds kLeaveSlack{5};
/// Two interrupts closer together than this are one: timeout(1) sends each signal twice.
constexpr seconds kSecondInterrupt{1};
constexpr std::uint16_t kDefaultPort = 29400;

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

bool in_foreground() {
  return isatty(STDIN_FILENO) == 1 && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

}  // namespace

Agent::Agent(const LaunchOptions& options, GuardedContext context)
    : options_(options),
      context_(std::move(context)),
      host_name_(host_name()),
      share_group_(in_foreground()),
      join_deadline_(base::deadline_after(options.join_timeout)),
      next_notice_(base::deadline_after(kNoticeInterval)) {}

Agent::~Agent() = default;

int Agent::run() {
  const base::Status ready = set_up();
  if (!ready.ok()) {
    base::log().error("{}", base::message(ready));
    return 1;
  }
  while (state_ != State::kDone ||
         (host_ != nullptr && !host_->finished() && base::Clock::now() < leave_deadline_)) {
    PollSet set;
    watch(set);
    set.wait(next_deadline());
    tick(base::Clock::now());
  }
  if (relay_ != nullptr) {
    relay_->drain(base::deadline_after(kDrain));
  }
  return exit_code_;
}

base::Status Agent::set_up() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : watched_signals(options_.signals_to_handle)) {
    sigaddset(&set, signal);
  }
  signals_ = base::Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) {
    return base::errno_status(errno, "signalfd");
  }
  dev_null_ = base::Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  GAMELAN_ASSIGN_OR_RETURN(logs_, WorkerLogs::create(options_));
  if (options_.tee.any()) {
    relay_ = std::make_unique<LogRelay>();
  }
  if (options_.nnodes == 1) {
    host_ = std::make_unique<CoordinatorHost>(options_, base::Fd());
  } else if (options_.node_rank <= 0) {
    GAMELAN_ASSIGN_OR_RETURN(const net::Endpoint endpoint,
                             net::parse_endpoint(options_.rdzv_endpoint, kDefaultPort));
    auto listener = listen_as_host(endpoint);
    if (listener.ok()) {
      host_ = std::make_unique<CoordinatorHost>(options_, *std::move(listener));
    } else if (options_.node_rank == 0) {
      return base::annotate(listener.status(), fmt::format("node 0 listens at --rdzv-endpoint {}",
                                                           net::to_string(endpoint)));
    }
  }
  if (host_ == nullptr) {
    dial();
    return base::OkStatus();
  }
  GAMELAN_RETURN_IF_ERROR(host_->start_store());
  GAMELAN_ASSIGN_OR_RETURN(auto link, host_->connect_locally());
  join(std::move(link));
  return base::OkStatus();
}

base::StatusOr<base::Fd> Agent::listen_as_host(const net::Endpoint& endpoint) const {
  auto listener = net::listen_tcp(endpoint);
  const bool in_use = listener.status().code() == base::StatusCode::kAlreadyExists;
  if (listener.ok() || in_use || options_.node_rank != 0) {
    return listener;
  }
  // The name leads here without being an address of this host (a service or a NAT in front of it).
  return net::listen_tcp({.host = "", .port = endpoint.port});
}

void Agent::watch(PollSet& set) {
  set.add(context_.guard_gone.get(), POLLIN, [this] { guard_gone(); });
  set.add(signals_.get(), POLLIN, [this] { signals_ready(); });
  if (host_ != nullptr) {
    host_->watch(set);
  }
  if (dialer_ != nullptr) {
    set.add(dialer_->ready_fd(), POLLIN, [this] { dialed(); });
  }
  if (link_ != nullptr) {
    set.add(link_->fd(), link_->events(), [this] { link_ready(); });
  }
}

base::TimePoint Agent::next_deadline() const {
  base::TimePoint next = std::min(redial_at_, leave_deadline_);
  if (host_ != nullptr) {
    next = std::min(next, host_->next_deadline());
  }
  if (link_ != nullptr) {
    next = std::min(next, link_->next_deadline());
  }
  if (group_ != nullptr) {
    next = std::min(next, group_->next_deadline());
  }
  const bool waiting = state_ == State::kJoining || state_ == State::kReady;
  return waiting ? std::min(next, next_notice_) : next;
}

void Agent::tick(base::TimePoint now) {
  if (host_ != nullptr) {
    host_->tick(now);
  }
  if (link_ != nullptr) {
    const base::Status alive = link_->tick(now);
    if (!alive.ok()) {
      lose_link(std::string(base::message(alive)));
    }
  }
  if (group_ != nullptr) {
    group_->tick(now);
    report_if_stopped();
  }
  if (now >= redial_at_) {
    redial_at_ = base::TimePoint::max();
    dial();
  }
  if (now >= next_notice_) {
    notice_waiting(now);
  }
  if (now >= leave_deadline_ && state_ == State::kLeaving) {
    done(1);
  }
}

void Agent::dial() {
  const auto endpoint = net::parse_endpoint(options_.rdzv_endpoint, kDefaultPort);
  if (!endpoint.ok()) {
    base::log().error("{}", base::message(endpoint.status()));
    done(1);
    return;
  }
  dialer_ = std::make_unique<Dialer>(*endpoint, join_deadline_);
}

void Agent::dialed() {
  if (state_ == State::kDone) {
    dialer_.reset();
    return;
  }
  auto socket = dialer_->take();
  dialer_.reset();
  if (!socket.ok()) {
    base::log().error(
        "job '{}' cannot start: node 0 is missing, nobody has answered at {} within {:.0f} s ({})",
        options_.run_id, options_.rdzv_endpoint, base::seconds(options_.join_timeout),
        base::message(socket.status()));
    done(1);
    return;
  }
  auto link = Link::client(
      *std::move(socket), options_.token,
      {.interval = options_.keep_alive_interval, .max_missed = options_.keep_alive_max_attempt});
  if (!link.ok()) {
    lose_link(std::string(base::message(link.status())));
    return;
  }
  join(*std::move(link));
}

void Agent::join(std::unique_ptr<Link> link) {
  link_ = std::move(link);
  Join request;
  request.run_id = options_.run_id;
  request.nnodes = options_.nnodes;
  request.node_rank = host_ != nullptr ? 0 : options_.node_rank;
  request.nproc = options_.nproc_per_node;
  request.host = host_name_;
  request.pid = getppid();  // the guard's: the process that people see and kill
  link_->send(request);
}

void Agent::notice_waiting(base::TimePoint now) {
  next_notice_ = now + kNoticeInterval;
  if (state_ == State::kJoining) {
    base::log().info("waiting for node 0 at {} ({:.0f} s left)", options_.rdzv_endpoint,
                     std::max(0.0, base::seconds(join_deadline_ - now)));
  } else if (state_ == State::kReady && !missing_.empty()) {
    base::log().info("waiting for {}", missing_);
  }
}

void Agent::link_ready() {
  if (link_ == nullptr) {
    return;  // given up earlier in this turn
  }
  std::vector<Message> messages;
  const base::Status status = link_->proceed(messages);
  for (const Message& message : messages) {
    if (state_ != State::kDone) {
      handle(message);
    }
  }
  if (status.ok()) {
    return;
  }
  const bool refused = !link_->open() && status.code() != base::StatusCode::kUnavailable;
  if (refused && state_ == State::kJoining) {
    base::log().error("cannot join job '{}': node 0 at {}: {}", options_.run_id,
                      options_.rdzv_endpoint, base::message(status));
    link_.reset();
    done(1);
    return;
  }
  lose_link(std::string(base::message(status)));
}

void Agent::lose_link(const std::string& reason) {
  link_.reset();
  if (state_ == State::kDone) {
    return;
  }
  if (!welcomed_ && state_ == State::kJoining) {
    redial_at_ = base::deadline_after(kRedialPause);  // node 0 may just be starting or restarting
    return;
  }
  if (state_ == State::kLeaving) {
    leave_deadline_ = group_ == nullptr || group_->stopped() ? base::Clock::now() : leave_deadline_;
    return;
  }
  base::log().error(
      "job '{}' is over: node 0 at {}, whose agent runs the job, {}; ending this node's workers",
      options_.run_id, options_.rdzv_endpoint, reason);
  done(1);
}

void Agent::done(int code) {
  exit_code_ = code;
  state_ = State::kDone;
  leave_deadline_ = base::deadline_after(kLeaveSlack);
  if (group_ == nullptr || group_->stopped()) {
    return;
  }
  group_->stop(SIGTERM, options_.shutdown_timeout);
  while (!group_->stopped()) {
    PollSet set;
    set.add(context_.guard_gone.get(), POLLIN, [this] { guard_gone(); });
    set.add(signals_.get(), POLLIN, [this] { signals_ready(); });
    set.wait(group_->next_deadline());
    group_->tick(base::Clock::now());
  }
}

void Agent::guard_gone() {
  kill_descendants(10'000);
  logs_.reset();  // removes the temporary folder
  _exit(1);
}

void Agent::signals_ready() {
  std::array<signalfd_siginfo, 16> infos;
  bool children = false;
  while (true) {
    const ssize_t bytes = read(signals_.get(), infos.data(), sizeof(infos));
    if (bytes <= 0) {
      break;
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(bytes) / sizeof(infos[0]); ++i) {
      if (infos[i].ssi_signo == SIGCHLD) {
        children = true;
      } else {
        handle_signal(static_cast<int>(infos[i].ssi_signo), infos[i].ssi_code == SI_KERNEL);
      }
    }
  }
  // Last: a worker that died of the Ctrl-C just handled is no failure.
  if (children && group_ != nullptr) {
    children_changed();
  }
}

void Agent::handle_signal(int signal, bool from_terminal) {
  const bool workers_have_it = from_terminal && share_group_;
  const auto& ending = options_.signals_to_handle;
  const bool ends = ending.empty()
                        ? signal != SIGUSR1 && signal != SIGUSR2
                        : std::find(ending.begin(), ending.end(), signal) != ending.end();
  if (ends) {
    leave(signal, workers_have_it);
  } else if (group_ != nullptr && !workers_have_it) {
    base::log().info("received {}: passing it on to the workers", signal_name(signal));
    group_->signal_workers(signal);
  }
}

void Agent::leave(int signal, bool workers_have_it) {
  const auto now = base::Clock::now();
  if (leaving_signal_ != 0) {
    if (signal == SIGINT && now - left_at_ >= kSecondInterrupt && group_ != nullptr) {
      base::log().warn("received SIGINT again: killing the workers");
      group_->stop_now();
    }
    return;
  }
  leaving_signal_ = signal;
  left_at_ = now;
  if (state_ == State::kDone) {
    return;
  }
  base::log().warn("received {}: ending the job", signal_name(signal));
  const bool joined = link_ != nullptr && welcomed_;
  if (joined) {
    link_->send(Leaving{signal});
  }
  state_ = State::kLeaving;
  leave_deadline_ = now + options_.shutdown_timeout + kLeaveSlack;
  if (group_ != nullptr) {
    group_->stop(workers_have_it ? 0 : signal, options_.shutdown_timeout);
  }
  if (!joined) {
    done(1);
  }
}

int run_job(const LaunchOptions& options) {
  return run_guarded(watched_signals(options.signals_to_handle), [&](GuardedContext context) {
    return Agent(options, std::move(context)).run();
  });
}

}  // namespace gamelan::launch
