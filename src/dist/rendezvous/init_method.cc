#include "dist/rendezvous/init_method.h"

#include <charconv>
#include <cstdlib>
#include <map>

namespace gamelan::dist {
namespace {

std::optional<std::string> environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
}

base::StatusOr<int> parse_int(std::string_view text, std::string_view what) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return base::invalid_argument("{} is '{}', expected a number", what, text);
  }
  return value;
}

/// "rank=1&world_size=2".
base::Status parse_query(std::string_view query, std::map<std::string, int>& values) {
  while (!query.empty()) {
    const std::string_view item = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), item.size() + 1));
    const std::size_t equals = item.find('=');
    const std::string name(item.substr(0, equals));
    if (equals == std::string_view::npos || (name != "rank" && name != "world_size")) {
      return base::invalid_argument(
          "init method: expected rank=… or world_size=… after '?', got '{}'", item);
    }
    GAMELAN_ASSIGN_OR_RETURN(values[name], parse_int(item.substr(equals + 1), name));
  }
  return base::OkStatus();
}

/// From the environment; `scheme` for the message.
base::StatusOr<std::string> required(const char* name) {
  const auto value = environment(name);
  if (!value) {
    return base::invalid_argument(
        "Error initializing using env:// rendezvous: environment variable {} expected, but not set",
        name);
  }
  return *value;
}

base::StatusOr<int> number_from(const std::map<std::string, int>& values, const char* name,
                                const char* variable) {
  if (const auto found = values.find(name); found != values.end()) {
    return found->second;
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::string text, required(variable));
  return parse_int(text, variable);
}

base::StatusOr<net::Endpoint> master_from_environment() {
  GAMELAN_ASSIGN_OR_RETURN(const std::string host, required("MASTER_ADDR"));
  GAMELAN_ASSIGN_OR_RETURN(const std::string text, required("MASTER_PORT"));
  GAMELAN_ASSIGN_OR_RETURN(const int port, parse_int(text, "MASTER_PORT"));
  if (port <= 0 || port > 65535) {
    return base::invalid_argument("MASTER_PORT is {}, expected 1 to 65535", port);
  }
  return net::Endpoint{host, static_cast<std::uint16_t>(port)};
}

base::StatusOr<MeetingPoint> from_environment(const std::map<std::string, int>& values) {
  MeetingPoint point;
  GAMELAN_ASSIGN_OR_RETURN(point.rank, number_from(values, "rank", "RANK"));
  GAMELAN_ASSIGN_OR_RETURN(point.world_size, number_from(values, "world_size", "WORLD_SIZE"));
  const auto agent = environment("GAMELAN_STORE");
  if (agent && !environment("MASTER_ADDR") && !environment("MASTER_PORT")) {
    GAMELAN_ASSIGN_OR_RETURN(point.master, net::parse_endpoint(*agent));
    point.agent_store = true;
    return point;
  }
  GAMELAN_ASSIGN_OR_RETURN(point.master, master_from_environment());
  point.agent_store = environment("TORCHELASTIC_USE_AGENT_STORE") == "True";
  return point;
}

base::StatusOr<MeetingPoint> from_address(std::string_view address,
                                          const std::map<std::string, int>& values) {
  constexpr std::string_view kPrefix = "Error initializing using tcp:// rendezvous: ";
  MeetingPoint point;
  const auto endpoint = net::parse_endpoint(address);
  if (!endpoint.ok() || endpoint->port == 0) {
    return base::invalid_argument("{}port number missing in '{}'", kPrefix, address);
  }
  point.master = *endpoint;
  if (!values.contains("rank")) {
    return base::invalid_argument("{}rank parameter missing", kPrefix);
  }
  if (!values.contains("world_size")) {
    return base::invalid_argument("{}size parameter missing", kPrefix);
  }
  point.rank = values.at("rank");
  point.world_size = values.at("world_size");
  point.agent_store = environment("TORCHELASTIC_USE_AGENT_STORE") == "True";
  return point;
}

}  // namespace

base::StatusOr<MeetingPoint> parse_init_method(std::string_view method, int rank, int world_size) {
  const std::size_t scheme_end = method.find("://");
  const std::string_view scheme =
      scheme_end == std::string_view::npos ? method : method.substr(0, scheme_end);
  if (scheme_end == std::string_view::npos || (scheme != "env" && scheme != "tcp")) {
    return base::invalid_argument(
        "No rendezvous handler for '{}'; expected env:// or tcp://host:port", method);
  }
  std::string_view rest = method.substr(scheme_end + 3);
  const std::size_t question = rest.find('?');
  std::map<std::string, int> values;
  if (question != std::string_view::npos) {
    GAMELAN_RETURN_IF_ERROR(parse_query(rest.substr(question + 1), values));
    rest = rest.substr(0, question);
  }
  if (!values.empty() && (rank >= 0 || world_size >= 0)) {
    return base::invalid_argument(
        "The url '{}' has node-specific arguments (rank, world_size) already; give them once",
        method);
  }
  if (rank >= 0) {
    values["rank"] = rank;
  }
  if (world_size >= 0) {
    values["world_size"] = world_size;
  }
  GAMELAN_ASSIGN_OR_RETURN(MeetingPoint point,
                           scheme == "env" ? from_environment(values) : from_address(rest, values));
  if (point.world_size < 1 || point.rank < 0 || point.rank >= point.world_size) {
    return base::invalid_argument("rank {} does not fit a world size of {}", point.rank,
                                  point.world_size);
  }
  return point;
}

}  // namespace gamelan::dist
