#include "dist/transport/transport.h"

#include <sys/socket.h>

#include <atomic>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "dist/transport/control_plane.h"
#include "dist/transport/failure.h"
#include "dist/transport/link_former.h"

namespace gamelan::dist {
namespace {

// The control connection tells of a death within milliseconds of the data connection.
constexpr std::chrono::milliseconds kExplanationWait{200};
// Segments that a peer may announce: more is a leak, and every one costs a descriptor.
constexpr std::size_t kMaxSegmentsOfPeer = 4096;
constexpr std::size_t kMaxTextBytes = 64 * 1024;

std::string_view text_of(std::span<const std::byte> payload) {
  return {reinterpret_cast<const char*>(payload.data()), payload.size()};
}

}  // namespace

class Transport::Impl : public ControlPlane::Handler {
 public:
  Impl(TransportOptions options, FormedLinks formed)
      : options_(std::move(options)),
        links_(std::move(formed.links)),
        one_host_(formed.one_host),
        crowded_(formed.crowded),
        left_(links_.size()),
        segments_(links_.size()),
        mailbox_(
            static_cast<int>(links_.size()), [this](const base::Status& reason) { fail(reason); },
            [this](int peer) { return describe(peer); }) {}

  ~Impl() override {
    close();
    join();
  }

  base::Status start() {
    if (one_host_ && size() > 1) {
      auto segment = Segment::create("gamelan", options_.segment_bytes);
      GAMELAN_RETURN_IF_ERROR(segment.status());
      own_segment_ = *std::move(segment);
    }
    std::vector<int> sockets;
    for (const Link& link : links_) {
      sockets.push_back(link.control.get());
    }
    control_ = std::make_unique<ControlPlane>(
        sockets, ControlPlane::Options{options_.heartbeat, options_.silence_limit}, *this);
    mailbox_.attach(control_.get());
    control_->start();
    if (!own_segment_) {
      return base::OkStatus();
    }
    announce(0, *own_segment_);
    const base::TimePoint deadline = base::deadline_after(options_.timeout);
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != options_.rank) {
        GAMELAN_RETURN_IF_ERROR(peer_segment(peer, 0, deadline).status());
      }
    }
    return base::OkStatus();
  }

  int size() const { return static_cast<int>(links_.size()); }
  const TransportOptions& options() const { return options_; }
  const Link& link(int rank) const { return links_[static_cast<std::size_t>(rank)]; }
  bool one_host() const { return one_host_; }
  bool crowded() const { return crowded_; }
  Mailbox& mailbox() { return mailbox_; }
  const Failure& failure() const { return failure_; }
  const std::shared_ptr<Segment>& own_segment() const { return own_segment_; }

  std::string describe(int rank) const {
    const PeerInfo& info = link(rank).peer;
    return fmt::format("rank {} (host {}, pid {})", rank, info.host, info.pid);
  }

  void announce(std::uint64_t number, const Segment& segment) {
    std::string payload(8, '\0');
    put_u64(reinterpret_cast<std::byte*>(payload.data()), segment.size_bytes());
    for (int peer = 0; peer < size(); ++peer) {
      control_->send(peer, {.type = FrameType::kSegment, .number = number}, payload, segment.fd());
    }
  }

  base::StatusOr<NumberedSegment> allocate(std::size_t bytes) {
    GAMELAN_ASSIGN_OR_RETURN(std::shared_ptr<Segment> segment, Segment::create("gamelan", bytes));
    const std::uint64_t number = next_segment_.fetch_add(1);
    if (one_host_) {
      announce(number, *segment);
    }
    return NumberedSegment{number, std::move(segment)};
  }

  void release(std::uint64_t number) {
    if (one_host_) {
      for (int peer = 0; peer < size(); ++peer) {
        control_->send(peer, {.type = FrameType::kSegmentFree, .number = number});
      }
    }
  }

  base::StatusOr<std::shared_ptr<Segment>> peer_segment(int peer, std::uint64_t number,
                                                        base::TimePoint deadline) {
    const base::MutexLock lock(mutex_);
    const auto& table = segments_[static_cast<std::size_t>(peer)];
    while (true) {
      const auto found = table.find(number);
      if (found != table.end()) {
        return found->second;
      }
      if (failure_.failed()) {
        return failure_.status();
      }
      if (!changed_.wait_until(mutex_, deadline) && base::Clock::now() >= deadline) {
        return base::deadline_exceeded("{} has not announced its segment {}", describe(peer),
                                       number);
      }
    }
  }

  void fail(const base::Status& reason) {
    if (failure_.set(reason)) {
      for (int peer = 0; peer < size(); ++peer) {
        control_->send(
            peer, {.type = FrameType::kAbort, .number = static_cast<std::uint64_t>(reason.code())},
            std::string(base::message(reason).substr(0, kMaxTextBytes)));
      }
      after_failure();
    }
  }

  void fail_here(const base::Status& reason) {
    if (failure_.set(reason)) {
      after_failure();
    }
  }

  bool has_left(int peer) const { return left_[static_cast<std::size_t>(peer)].load(); }

  base::Status explain_loss(int peer) {
    const base::TimePoint deadline = base::deadline_after(kExplanationWait);
    {
      const base::MutexLock lock(mutex_);
      while (!failure_.failed() && !has_left(peer) && changed_.wait_until(mutex_, deadline)) {
      }
    }
    fail(has_left(peer) ? base::unavailable("{} has left the group", describe(peer))
                        : base::unavailable("{} has closed its data connection", describe(peer)));
    return failure_.status();
  }

  void set_reporter(std::function<std::string()> reporter) {
    const base::MutexLock lock(mutex_);
    reporter_ = std::move(reporter);
  }

  std::map<int, std::string> query(const std::vector<int>& peers,
                                   std::chrono::milliseconds timeout) {
    const base::TimePoint deadline = base::deadline_after(timeout);
    std::uint64_t number = 0;
    {
      const base::MutexLock lock(mutex_);
      number = ++query_number_;
      reports_.clear();
    }
    for (const int peer : peers) {
      control_->send(peer, {.type = FrameType::kQuery, .number = number});
    }
    const base::MutexLock lock(mutex_);
    while (reports_.size() < peers.size() && changed_.wait_until(mutex_, deadline)) {
    }
    return reports_;
  }

  void close() {
    if (closed_.exchange(true) || !control_) {
      return;
    }
    const base::Status why = failure_.status();
    for (int peer = 0; peer < size(); ++peer) {
      control_->send(
          peer, {.type = FrameType::kGoodbye, .number = static_cast<std::uint64_t>(why.code())},
          std::string(base::message(why).substr(0, kMaxTextBytes)));
    }
    // The others' operations end with the connection, after what is still on its way.
    for (const Link& link : links_) {
      ::shutdown(link.data.get(), SHUT_WR);
    }
    fail_here(base::aborted("rank {} has closed group '{}'", options_.rank, options_.group_name));
    control_->close();
  }

  void join() {
    if (control_) {
      control_->join();
      mailbox_.fail_all(failure_.status());
    }
  }

  base::Status on_frame(int peer, const FrameHeader& header, std::span<const std::byte> payload,
                        base::Fd fd) override {
    switch (header.type) {
      case FrameType::kGoodbye:
        on_goodbye(peer, header, payload);
        return base::OkStatus();
      case FrameType::kAbort:
        fail_here(reported(header, payload));
        return base::OkStatus();
      case FrameType::kSegment:
        return on_segment(peer, header, payload, std::move(fd));
      case FrameType::kSegmentFree: {
        const base::MutexLock lock(mutex_);
        segments_[static_cast<std::size_t>(peer)].erase(header.number);
        return base::OkStatus();
      }
      case FrameType::kQuery:
        on_query(peer, header);
        return base::OkStatus();
      case FrameType::kReport: {
        const base::MutexLock lock(mutex_);
        if (header.number == query_number_) {
          reports_[peer] = std::string(text_of(payload));
          changed_.notify_all();
        }
        return base::OkStatus();
      }
      case FrameType::kEager:
        return mailbox_.on_eager(peer, header, payload);
      case FrameType::kOffer:
        return mailbox_.on_offer(peer, header, payload);
      case FrameType::kAccept:
        return mailbox_.on_accept(peer, header);
      case FrameType::kCredit:
        mailbox_.on_credit(peer, header);
        return base::OkStatus();
      default:
        return base::OkStatus();
    }
  }

  base::StatusOr<std::span<std::byte>> on_part(int peer, const FrameHeader& header) override {
    return mailbox_.on_part(peer, header);
  }
  void on_part_received(int peer, const FrameHeader& header) override {
    mailbox_.on_part_received(peer, header);
  }

  void on_lost(int peer, const base::Status& why) override {
    if (!has_left(peer)) {
      fail(base::unavailable("{} has exited: {}", describe(peer), base::message(why)));
    }
  }

  base::TimePoint on_turn() override {
    if (failure_.failed() && !torn_down_) {
      torn_down_ = true;
      // Receivers first let go of the connections' memory, then learn that it is theirs again.
      control_->cancel_parts(failure_.status());
      mailbox_.fail_all(failure_.status());
    }
    return torn_down_ ? base::TimePoint::max() : mailbox_.expire(base::Clock::now());
  }

 private:
  void after_failure() {
    {
      const base::MutexLock lock(mutex_);
      changed_.notify_all();
    }
    control_->wake();
  }

  static base::Status reported(const FrameHeader& header, std::span<const std::byte> payload) {
    const bool known = header.number > 0 && header.number <= 16;
    return {known ? static_cast<base::StatusCode>(header.number) : base::StatusCode::kUnknown,
            std::string(text_of(payload))};
  }

  void on_goodbye(int peer, const FrameHeader& header, std::span<const std::byte> payload) {
    if (header.number != 0) {
      fail_here(reported(header, payload));
    }
    left_[static_cast<std::size_t>(peer)].store(true);
    {
      const base::MutexLock lock(mutex_);
      changed_.notify_all();
    }
    mailbox_.fail_peer(peer, failure_.failed()
                                 ? failure_.status()
                                 : base::unavailable("{} has left the group", describe(peer)));
  }

  base::Status on_segment(int peer, const FrameHeader& header, std::span<const std::byte> payload,
                          base::Fd fd) {
    if (payload.size() != 8 || !fd.valid()) {
      return base::data_loss("it announced a segment without its descriptor");
    }
    GAMELAN_ASSIGN_OR_RETURN(std::shared_ptr<Segment> segment,
                             Segment::map(std::move(fd), get_u64(payload.data())));
    const base::MutexLock lock(mutex_);
    auto& table = segments_[static_cast<std::size_t>(peer)];
    if (table.size() >= kMaxSegmentsOfPeer) {
      return base::data_loss("it announced more than {} segments", kMaxSegmentsOfPeer);
    }
    table[header.number] = std::move(segment);
    changed_.notify_all();
    return base::OkStatus();
  }

  void on_query(int peer, const FrameHeader& header) {
    std::function<std::string()> reporter;
    {
      const base::MutexLock lock(mutex_);
      reporter = reporter_;
    }
    const std::string text = reporter ? reporter() : "is not in any operation";
    control_->send(peer, {.type = FrameType::kReport, .number = header.number},
                   text.substr(0, kMaxTextBytes));
  }

  const TransportOptions options_;
  const std::vector<Link> links_;
  const bool one_host_;
  const bool crowded_;
  std::shared_ptr<Segment> own_segment_;
  std::atomic<std::uint64_t> next_segment_{1};
  std::vector<std::atomic<bool>> left_;
  std::atomic<bool> closed_{false};
  bool torn_down_ = false;  // the loop's thread only
  Failure failure_;

  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<std::map<std::uint64_t, std::shared_ptr<Segment>>> segments_ ABSL_GUARDED_BY(mutex_);
  std::function<std::string()> reporter_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t query_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int, std::string> reports_ ABSL_GUARDED_BY(mutex_);

  Mailbox mailbox_;
  std::unique_ptr<ControlPlane> control_;
};

base::StatusOr<std::unique_ptr<Transport>> Transport::form(const std::shared_ptr<Store>& store,
                                                           const TransportOptions& options) {
  if (options.world_size < 1 || options.rank < 0 || options.rank >= options.world_size) {
    return base::invalid_argument("rank {} does not fit a world size of {}", options.rank,
                                  options.world_size);
  }
  GAMELAN_ASSIGN_OR_RETURN(FormedLinks formed, form_links(store, options));
  auto impl = std::make_unique<Impl>(options, std::move(formed));
  GAMELAN_RETURN_IF_ERROR(impl->start());
  return std::unique_ptr<Transport>(new Transport(std::move(impl)));
}

Transport::Transport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Transport::~Transport() = default;

int Transport::rank() const {
  return impl_->options().rank;
}
int Transport::size() const {
  return impl_->size();
}
std::uint64_t Transport::generation() const {
  return impl_->options().generation;
}
const std::string& Transport::group_name() const {
  return impl_->options().group_name;
}
const PeerInfo& Transport::peer(int rank) const {
  return impl_->link(rank).peer;
}
std::string Transport::describe(int rank) const {
  return impl_->describe(rank);
}
bool Transport::shares_memory() const {
  return impl_->one_host();
}
bool Transport::crowded() const {
  return impl_->crowded();
}
int Transport::data_socket(int peer) const {
  return impl_->link(peer).data.get();
}
Mailbox& Transport::mailbox() {
  return impl_->mailbox();
}
std::shared_ptr<Segment> Transport::own_segment() const {
  return impl_->own_segment();
}
base::StatusOr<std::shared_ptr<Segment>> Transport::peer_segment(int peer, std::uint64_t number,
                                                                 base::TimePoint deadline) {
  return impl_->peer_segment(peer, number, deadline);
}
base::StatusOr<Transport::NumberedSegment> Transport::allocate_segment(std::size_t bytes) {
  return impl_->allocate(bytes);
}
void Transport::release_segment(std::uint64_t number) {
  impl_->release(number);
}
bool Transport::failed() const {
  return impl_->failure().failed();
}
base::Status Transport::failure() const {
  return impl_->failure().status();
}
int Transport::failure_fd() const {
  return impl_->failure().fd();
}
void Transport::fail(const base::Status& reason) {
  impl_->fail(reason);
}
bool Transport::has_left(int peer) const {
  return impl_->has_left(peer);
}
base::Status Transport::explain_loss(int peer) {
  return impl_->explain_loss(peer);
}
void Transport::set_reporter(std::function<std::string()> reporter) {
  impl_->set_reporter(std::move(reporter));
}
std::map<int, std::string> Transport::query(const std::vector<int>& peers,
                                            std::chrono::milliseconds timeout) {
  return impl_->query(peers, timeout);
}
void Transport::close() {
  impl_->close();
}
void Transport::join() {
  impl_->join();
}

}  // namespace gamelan::dist
