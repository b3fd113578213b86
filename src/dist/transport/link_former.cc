#include "dist/transport/link_former.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <map>
#include <thread>
#include <utility>

#include "base/log.h"
#include "device/cpu.h"
#include "dist/transport/frames.h"
#include "dist/transport/meeting.h"
#include "net/socket.h"

namespace gamelan::dist {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t kHelloMagic = 0x314c4847;  // "GHL1"
constexpr std::size_t kHelloBytes = 16;
enum class ConnectionKind : std::uint32_t { kControl = 1, kData = 2 };
// How long a stranger can hold up those behind it in the queue of a listener, who wait for longer.
constexpr milliseconds kAcceptTimeout{2'000};
constexpr milliseconds kDialTimeout{20'000};
constexpr milliseconds kSlice{200};

/// What a rank publishes for the others, as lines of "key=value".
struct Record {
  net::Endpoint tcp;
  std::string unix_name;
  std::string host;
  int pid = 0;
  std::string cpus;  ///< the affinity mask, one hexadecimal digit for 4 CPUs, lowest first
  int cpu_limit = 0;
};

std::string cpu_mask() {
  std::string mask;
  for (const int cpu : device::allowed_cpus()) {
    const auto digit = static_cast<std::size_t>(cpu / 4);
    mask.resize(std::max(mask.size(), digit + 1), '0');
    const int value = mask[digit] <= '9' ? mask[digit] - '0' : mask[digit] - 'a' + 10;
    mask[digit] = "0123456789abcdef"[value | 1 << (cpu % 4)];
  }
  return mask;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::string to_text(const Record& record) {
  return fmt::format("tcp={}\nunix={}\nhost={}\npid={}\ncpus={}\nlimit={}\n",
                     net::to_string(record.tcp), record.unix_name, record.host, record.pid,
                     record.cpus, record.cpu_limit);
}

base::StatusOr<Record> parse_record(std::string_view text, int rank) {
  std::map<std::string_view, std::string_view> fields;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t equals = line.find('=');
    if (equals != std::string_view::npos) {
      fields[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  const auto number = [&fields](std::string_view name) {
    int value = 0;
    const std::string_view field = fields[name];
    std::from_chars(field.data(), field.data() + field.size(), value);
    return value;
  };
  Record record;
  record.pid = number("pid");
  record.cpu_limit = number("limit");
  record.unix_name = fields["unix"];
  record.host = fields["host"];
  record.cpus = fields["cpus"];
  const auto endpoint = net::parse_endpoint(fields["tcp"]);
  if (!endpoint.ok()) {
    return base::data_loss("the record of rank {} in the store has no address: {}", rank,
                           base::message(endpoint.status()));
  }
  record.tcp = *endpoint;
  return record;
}

bool is_loopback(const std::string& host) {
  return host == "::1" || host == "localhost" || host.starts_with("127.");
}

class LinkFormer {
 public:
  LinkFormer(const std::shared_ptr<Store>& store, const TransportOptions& options)
      : options_(options),
        meeting_(store, options),
        links_(static_cast<std::size_t>(options.world_size)) {}

  base::StatusOr<FormedLinks> form() {
    base::StatusOr<FormedLinks> formed = try_form();
    if (!formed.ok()) {
      meeting_.give_up(formed.status());
    }
    return formed;
  }

 private:
  base::StatusOr<FormedLinks> try_form() {
    GAMELAN_RETURN_IF_ERROR(meeting_.enter());
    GAMELAN_RETURN_IF_ERROR(meet());
    context_ = fmt::format("transport {} generation {} group {}", options_.group_name,
                           options_.generation, meeting_.id());
    GAMELAN_RETURN_IF_ERROR(connect_all());
    FormedLinks formed;
    formed.links = std::move(links_);
    formed.crowded = crowded(formed.links);
    const bool near = options_.links != LinkKind::kTcp &&
                      std::all_of(formed.links.begin(), formed.links.end(),
                                  [](const Link& link) { return link.peer.same_host; });
    // Also the point at which everybody knows that all links exist.
    GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::string> answers,
                             meeting_.exchange("linked", near ? "near" : "far"));
    formed.one_host = std::all_of(answers.begin(), answers.end(),
                                  [](const std::string& answer) { return answer == "near"; });
    return formed;
  }

  base::Status meet() {
    GAMELAN_ASSIGN_OR_RETURN(tcp_listener_, net::listen_tcp({options_.listen_host, 0}));
    GAMELAN_ASSIGN_OR_RETURN(const net::Endpoint local, net::local_endpoint(tcp_listener_.get()));
    Record own;
    own.tcp = {options_.listen_host, local.port};
    own.host = host_name();
    own.pid = static_cast<int>(::getpid());
    own.cpus = cpu_mask();
    own.cpu_limit = device::cgroup_cpu_limit();
    if (options_.links != LinkKind::kTcp) {
      own.unix_name = "gamelan-" + net::Token::random().secret().substr(0, 32);
      GAMELAN_ASSIGN_OR_RETURN(unix_listener_, net::listen_unix(own.unix_name));
    }
    GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                             meeting_.exchange("records", to_text(own)));
    for (int rank = 0; rank < options_.world_size; ++rank) {
      GAMELAN_ASSIGN_OR_RETURN(Record record,
                               parse_record(texts[static_cast<std::size_t>(rank)], rank));
      PeerInfo& peer = links_[static_cast<std::size_t>(rank)].peer;
      peer.host = record.host;
      peer.pid = record.pid;
      records_.push_back(std::move(record));
    }
    links_[static_cast<std::size_t>(options_.rank)].peer.same_host = true;
    return base::OkStatus();
  }

  /// Lower ranks dial higher ones. Accepting goes on beside dialling, or ranks would wait in a row.
  base::Status connect_all() {
    std::atomic<bool> stop{false};
    base::Status accepted;
    std::thread acceptor([&] { accepted = accept_all(stop); });
    base::Status dialled;
    for (int peer = options_.rank + 1; peer < options_.world_size && dialled.ok(); ++peer) {
      dialled = dial(peer);
    }
    stop.store(!dialled.ok());
    acceptor.join();
    return dialled.ok() ? accepted : dialled;
  }

  base::Status dial(int peer) {
    Link& link = links_[static_cast<std::size_t>(peer)];
    for (const ConnectionKind kind : {ConnectionKind::kControl, ConnectionKind::kData}) {
      GAMELAN_ASSIGN_OR_RETURN(base::Fd socket, reach(peer));
      const base::Status status = introduce(socket.get(), peer, kind);
      if (!status.ok()) {
        return base::annotate(status,
                              fmt::format("rank {} connects to {}", options_.rank, describe(peer)));
      }
      (kind == ConnectionKind::kControl ? link.control : link.data) = std::move(socket);
    }
    return base::OkStatus();
  }

  /// A Unix socket where one answers, else TCP, until somebody gives up.
  base::StatusOr<base::Fd> reach(int peer) {
    const Record& record = records_[static_cast<std::size_t>(peer)];
    PeerInfo& info = links_[static_cast<std::size_t>(peer)].peer;
    if (options_.links != LinkKind::kTcp && !record.unix_name.empty()) {
      base::StatusOr<base::Fd> socket = net::connect_unix(record.unix_name);
      info.same_host = socket.ok();
      if (socket.ok()) {
        return socket;
      }
    }
    if (options_.links == LinkKind::kShm) {
      return base::failed_precondition(
          "backend shm needs all ranks on one host: rank {} is on {} and cannot reach {} through "
          "shared "
          "memory",
          options_.rank, records_[static_cast<std::size_t>(options_.rank)].host, describe(peer));
    }
    const std::string& own_host = records_[static_cast<std::size_t>(options_.rank)].host;
    if (is_loopback(record.tcp.host) && record.host != own_host) {
      return base::failed_precondition(
          "{} listens on {}, which rank {} on {} cannot reach: MASTER_ADDR must be an address of "
          "that host that leads to the others, or GAMELAN_LISTEN_HOST must name one there",
          describe(peer), record.tcp.host, options_.rank, own_host);
    }
    while (true) {
      base::StatusOr<base::Fd> socket =
          net::connect_tcp(record.tcp, std::min(meeting_.deadline(), base::deadline_after(kSlice)));
      if (socket.ok() || base::Clock::now() >= meeting_.deadline()) {
        return socket;
      }
      GAMELAN_RETURN_IF_ERROR(meeting_.check());
    }
  }

  base::Status introduce(int socket, int peer, ConnectionKind kind) {
    const base::TimePoint deadline =
        std::min(meeting_.deadline(), base::deadline_after(kDialTimeout));
    GAMELAN_RETURN_IF_ERROR(net::authenticate_client(socket, options_.token, context_, deadline));
    std::array<std::byte, kHelloBytes> hello{};
    put_u32(&hello[0], kHelloMagic);
    put_u32(&hello[4], static_cast<std::uint32_t>(kind));
    put_u32(&hello[8], static_cast<std::uint32_t>(options_.rank));
    put_u32(&hello[12], static_cast<std::uint32_t>(peer));
    return net::send_all(socket, hello, deadline);
  }

  base::Status accept_all(const std::atomic<bool>& stop) {
    int expected = 2 * options_.rank;
    std::array<pollfd, 2> listeners{
        {{tcp_listener_.get(), POLLIN, 0},
         {unix_listener_.valid() ? unix_listener_.get() : -1, POLLIN, 0}}};
    while (expected > 0 && !stop.load()) {
      const int ready =
          ::poll(listeners.data(), listeners.size(), static_cast<int>(kSlice.count()));
      if (ready <= 0) {
        GAMELAN_RETURN_IF_ERROR(meeting_.check());
        if (base::Clock::now() >= meeting_.deadline()) {
          return base::deadline_exceeded(
              "group '{}': {} connections of lower ranks did not come within {} ms",
              options_.group_name, expected, options_.timeout.count());
        }
        continue;
      }
      for (const pollfd& listener : listeners) {
        if (listener.fd >= 0 && (listener.revents & POLLIN) != 0 &&
            welcome(listener.fd, listener.fd == unix_listener_.get())) {
          --expected;
        }
      }
    }
    return base::OkStatus();
  }

  /// Takes one connection; false for strangers and for peers that went away.
  bool welcome(int listener, bool local) {
    const base::TimePoint deadline =
        std::min(meeting_.deadline(), base::deadline_after(kAcceptTimeout));
    base::StatusOr<base::Fd> socket = net::accept(listener, deadline);
    if (!socket.ok()) {
      return false;
    }
    base::Status status =
        net::authenticate_server(socket->get(), options_.token, context_, deadline);
    std::array<std::byte, kHelloBytes> hello{};
    if (status.ok()) {
      status = net::recv_all(socket->get(), hello, deadline);
    }
    if (!status.ok()) {
      base::log().warn("rank {} of group '{}' refused a connection: {}", options_.rank,
                       options_.group_name, base::message(status));
      return false;
    }
    const std::uint32_t kind = get_u32(&hello[4]);
    const std::uint32_t from = get_u32(&hello[8]);
    if (get_u32(&hello[0]) != kHelloMagic || (kind != 1 && kind != 2) ||
        from >= static_cast<std::uint32_t>(options_.rank) ||
        get_u32(&hello[12]) != static_cast<std::uint32_t>(options_.rank)) {
      base::log().warn("rank {} of group '{}' refused a connection that was not meant for it",
                       options_.rank, options_.group_name);
      return false;
    }
    Link& link = links_[from];
    base::Fd& slot = kind == 1 ? link.control : link.data;
    if (slot.valid()) {
      return false;
    }
    slot = *std::move(socket);
    link.peer.same_host = local;
    return true;
  }

  bool crowded(const std::vector<Link>& links) const {
    int ranks = 0;
    std::string all;
    const auto value = [](char digit) {
      return digit <= '9' ? digit - '0' : (digit - 'a' + 10) & 0xf;
    };
    for (std::size_t rank = 0; rank < links.size(); ++rank) {
      if (!links[rank].peer.same_host &&
          records_[rank].host != records_[static_cast<std::size_t>(options_.rank)].host) {
        continue;
      }
      ++ranks;
      const std::string& mask = records_[rank].cpus;
      all.resize(std::max(all.size(), mask.size()), '0');
      for (std::size_t i = 0; i < mask.size(); ++i) {
        all[i] = "0123456789abcdef"[value(all[i]) | value(mask[i])];
      }
    }
    int cpus = 0;
    for (const char digit : all) {
      cpus += std::popcount(static_cast<unsigned>(value(digit)));
    }
    const int limit = records_[static_cast<std::size_t>(options_.rank)].cpu_limit;
    return ranks > (limit > 0 ? std::min(cpus, limit) : cpus);
  }

  std::string describe(int rank) const {
    const PeerInfo& info = links_[static_cast<std::size_t>(rank)].peer;
    return fmt::format("rank {} (host {}, pid {})", rank, info.host, info.pid);
  }

  const TransportOptions& options_;
  Meeting meeting_;
  std::string context_;
  base::Fd tcp_listener_;
  base::Fd unix_listener_;
  std::vector<Record> records_;
  std::vector<Link> links_;
};

}  // namespace

base::StatusOr<FormedLinks> form_links(const std::shared_ptr<Store>& store,
                                       const TransportOptions& options) {
  LinkFormer former(store, options);
  return former.form();
}

}  // namespace gamelan::dist
