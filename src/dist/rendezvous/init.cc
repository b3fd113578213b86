#include "dist/rendezvous/init.h"

#include <charconv>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/log.h"
#include "dist/collective/shm/shm_channel.h"
#include "dist/rendezvous/init_method.h"
#include "dist/store/prefix_store.h"
#include "dist/store/tcp_store.h"
#include "dist/transport/transport.h"
#include "net/socket.h"

namespace gamelan::dist {
namespace {

net::Token token_of(const InitOptions& options) {
  return options.token ? *options.token : net::Token::from_environment().value_or(net::Token());
}

base::StatusOr<std::uint64_t> generation_of(const InitOptions& options) {
  if (options.generation) {
    return *options.generation;
  }
  const char* const text = std::getenv("TORCHELASTIC_RESTART_COUNT");
  if (text == nullptr || *text == '\0') {
    return 0;
  }
  const std::string_view digits(text);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return base::invalid_argument("TORCHELASTIC_RESTART_COUNT is '{}', expected a number", digits);
  }
  return value;
}

base::StatusOr<LinkKind> links_of(const std::string& backend) {
  if (backend == "cpu" || backend == "gloo") {
    return LinkKind::kAuto;
  }
  if (backend == "tcp") {
    return LinkKind::kTcp;
  }
  if (backend == "shm") {
    return LinkKind::kShm;
  }
  return base::invalid_argument("unknown backend '{}'; expected cpu, gloo, tcp or shm", backend);
}

/// An address of this host that the other ranks reach: the one that leads to where they meet.
base::StatusOr<std::string> listen_host_of(const Store* store, const InitOptions& options) {
  if (!options.listen_host.empty()) {
    return options.listen_host;
  }
  if (const char* const host = std::getenv("GAMELAN_LISTEN_HOST");
      host != nullptr && *host != '\0') {
    return std::string(host);
  }
  std::shared_ptr<Store> innermost;
  if (const auto* prefixed = dynamic_cast<const PrefixStore*>(store)) {
    innermost = prefixed->innermost();
    store = innermost.get();
  }
  if (const auto* tcp = dynamic_cast<const TcpStore*>(store)) {
    return net::source_address_towards(tcp->endpoint());
  }
  return std::string("127.0.0.1");
}

/// Rank 0 hosts the store unless the agent does.
base::StatusOr<std::shared_ptr<Store>> connect_store(const MeetingPoint& point,
                                                     const InitOptions& options,
                                                     std::uint64_t generation) {
  TcpStoreOptions store_options;
  store_options.endpoint = point.master;
  store_options.is_server = point.rank == 0 && !point.agent_store;
  store_options.token = token_of(options);
  store_options.timeout = options.timeout;
  auto store = TcpStore::create(store_options);
  if (!store.ok()) {
    const std::string where =
        store_options.is_server
            ? fmt::format("rank 0 hosts the store at {}", net::to_string(point.master))
            : fmt::format("rank {} connects to the store at {}{}", point.rank,
                          net::to_string(point.master),
                          point.agent_store ? "" : ", which rank 0 hosts");
    return base::annotate(store.status(), where);
  }
  if (!point.agent_store) {
    return std::shared_ptr<Store>(*std::move(store));
  }
  // One store serves every attempt: each sees its own keys.
  return std::shared_ptr<Store>(std::make_shared<PrefixStore>(
      fmt::format("worker/attempt_{}", generation), *std::move(store)));
}

}  // namespace

base::StatusOr<Job> init_process_group(const InitOptions& options) {
  GAMELAN_RETURN_IF_ERROR(links_of(options.backend).status());
  GAMELAN_ASSIGN_OR_RETURN(const std::uint64_t generation, generation_of(options));
  GAMELAN_ASSIGN_OR_RETURN(
      const MeetingPoint point,
      parse_init_method(options.init_method, options.rank, options.world_size));
  Job job;
  GAMELAN_ASSIGN_OR_RETURN(job.store, connect_store(point, options, generation));
  InitOptions group = options;
  group.generation = generation;
  GAMELAN_ASSIGN_OR_RETURN(job.group,
                           form_group(job.store, point.rank, point.world_size, "default", group));
  return job;
}

base::StatusOr<std::unique_ptr<ProcessGroup>> form_group(std::shared_ptr<Store> store, int rank,
                                                         int world_size, const std::string& name,
                                                         const InitOptions& options) {
  TransportOptions transport;
  transport.rank = rank;
  transport.world_size = world_size;
  transport.group_name = name;
  transport.token = token_of(options);
  transport.timeout = options.timeout;
  transport.segment_bytes = ShmChannel::segment_bytes();
  transport.heartbeat = options.heartbeat;
  transport.silence_limit = options.silence_limit;
  GAMELAN_ASSIGN_OR_RETURN(transport.links, links_of(options.backend));
  GAMELAN_ASSIGN_OR_RETURN(transport.generation, generation_of(options));
  GAMELAN_ASSIGN_OR_RETURN(transport.listen_host, listen_host_of(store.get(), options));
  GAMELAN_ASSIGN_OR_RETURN(std::unique_ptr<Transport> links, Transport::form(store, transport));
  ProcessGroup::Options group;
  group.timeout = options.timeout;
  return std::make_unique<ProcessGroup>(std::move(links), group);
}

}  // namespace gamelan::dist
