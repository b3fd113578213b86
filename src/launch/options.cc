#include "launch/options.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "net/socket.h"

namespace gamelan::launch {
namespace {

std::optional<long long> to_int(std::string_view text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(at + 1);
  }
}

base::StatusOr<Streams> parse_streams(std::string_view text) {
  const auto value = to_int(text);
  if (!value || *value < 0 || *value > 3) {
    return base::invalid_argument("expected 0 (none), 1 (stdout), 2 (stderr) or 3 (both), got '{}'",
                                  text);
  }
  return static_cast<Streams>(*value);
}

}  // namespace

base::StatusOr<StreamSpec> StreamSpec::parse(std::string_view text) {
  StreamSpec spec;
  if (text.find(':') == std::string_view::npos) {
    GAMELAN_ASSIGN_OR_RETURN(spec.all_, parse_streams(text));
    return spec;
  }
  for (const std::string_view part : split(text, ',')) {
    const std::size_t colon = part.find(':');
    const auto rank = to_int(part.substr(0, colon));
    if (colon == std::string_view::npos || !rank || *rank < 0 || *rank > 1'000'000) {
      return base::invalid_argument("expected local_rank:streams pairs such as 0:1,1:2, got '{}'",
                                    text);
    }
    GAMELAN_ASSIGN_OR_RETURN(const Streams streams, parse_streams(part.substr(colon + 1)));
    spec.by_rank_.emplace_back(static_cast<int>(*rank), streams);
  }
  return spec;
}

Streams StreamSpec::of(int local_rank) const {
  for (const auto& [rank, streams] : by_rank_) {
    if (rank == local_rank) {
      return streams;
    }
  }
  return all_;
}

bool StreamSpec::any() const {
  return all_ != Streams::kNone ||
         std::any_of(by_rank_.begin(), by_rank_.end(),
                     [](const auto& entry) { return entry.second != Streams::kNone; });
}

int gpu_count() {
  int count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", error)) {
    const std::string name = entry.path().filename();
    if (name.rfind("nvidia", 0) == 0 && to_int(std::string_view(name).substr(6))) {
      ++count;
    }
  }
  return count;
}

base::StatusOr<int> parse_nproc(std::string_view text, int cpus) {
  if (text == "cpu") {
    return cpus;
  }
  if (text == "auto") {
    const int gpus = gpu_count();
    return gpus > 0 ? gpus : cpus;
  }
  if (text == "gpu") {
    const int gpus = gpu_count();
    if (gpus == 0) {
      return base::invalid_argument("'gpu' was asked for, but this machine has no NVIDIA device");
    }
    return gpus;
  }
  const auto value = to_int(text);
  if (!value || *value < 1 || *value > 4096) {
    return base::invalid_argument("expected a number from 1 to 4096, cpu, gpu or auto, got '{}'",
                                  text);
  }
  return static_cast<int>(*value);
}

base::StatusOr<int> parse_nnodes(std::string_view text) {
  const std::size_t colon = text.find(':');
  const auto first = to_int(text.substr(0, colon));
  const auto last = colon == std::string_view::npos ? first : to_int(text.substr(colon + 1));
  if (!first || !last || *first < 1 || *last > 65536) {
    return base::invalid_argument("expected a number of nodes from 1 to 65536, got '{}'", text);
  }
  if (*first != *last) {
    return base::invalid_argument(
        "a changing number of nodes (MIN:MAX) is not supported, expected one number, got '{}'",
        text);
  }
  return static_cast<int>(*first);
}

base::Status apply_rdzv_conf(std::string_view text, LaunchOptions& options) {
  for (const std::string_view part : split(text, ',')) {
    if (part.empty()) {
      continue;
    }
    const std::size_t equal = part.find('=');
    const std::string_view key = part.substr(0, equal);
    const auto value =
        equal == std::string_view::npos ? std::nullopt : to_int(part.substr(equal + 1));
    if (!value || *value < 1 || *value > 10'000'000) {
      return base::invalid_argument("expected key=positive_number, got '{}'", part);
    }
    if (key == "join_timeout" || key == "timeout") {
      options.join_timeout = std::chrono::seconds(*value);
    } else if (key == "keep_alive_interval") {
      options.keep_alive_interval = std::chrono::seconds(*value);
    } else if (key == "keep_alive_max_attempt") {
      options.keep_alive_max_attempt = static_cast<int>(*value);
    } else {
      return base::invalid_argument(
          "unknown key '{}', expected join_timeout, keep_alive_interval or keep_alive_max_attempt",
          key);
    }
  }
  return base::OkStatus();
}

base::StatusOr<std::vector<int>> parse_signals(std::string_view text) {
  std::vector<int> signals;
  for (std::string_view part : split(text, ',')) {
    if (part.rfind("SIG", 0) == 0) {
      part.remove_prefix(3);
    }
    int found = 0;
    if (const auto number = to_int(part); number && *number > 0 && *number < NSIG) {
      found = static_cast<int>(*number);
    }
    for (int candidate = 1; found == 0 && candidate < NSIG; ++candidate) {
      const char* name = sigabbrev_np(candidate);
      found = name != nullptr && part == name ? candidate : 0;
    }
    if (found == 0 || found == SIGKILL || found == SIGSTOP || found == SIGCHLD) {
      return base::invalid_argument("expected names of signals such as SIGTERM,SIGINT, got '{}'",
                                    part);
    }
    signals.push_back(found);
  }
  return signals;
}

base::StatusOr<std::vector<int>> parse_int_list(std::string_view text, std::string_view what) {
  std::vector<int> values;
  for (const std::string_view part : split(text, ',')) {
    const auto value = to_int(part);
    if (!value || *value < 0 || *value > 1'000'000) {
      return base::invalid_argument("expected {} separated by commas, got '{}'", what, text);
    }
    values.push_back(static_cast<int>(*value));
  }
  return values;
}

base::Status validate(const LaunchOptions& options) {
  if (options.command.empty()) {
    return base::invalid_argument("expected a program to run");
  }
  if (options.node_rank >= options.nnodes) {
    return base::invalid_argument("--node-rank must be smaller than --nnodes {}, got {}",
                                  options.nnodes, options.node_rank);
  }
  if (options.nnodes == 1) {
    return base::OkStatus();
  }
  if (options.rdzv_endpoint.empty()) {
    return base::invalid_argument(
        "a job of {} nodes needs --rdzv-endpoint host:port, the same on every node",
        options.nnodes);
  }
  const auto endpoint = net::parse_endpoint(options.rdzv_endpoint, 29400);
  if (!endpoint.ok()) {
    return base::annotate(endpoint.status(), "--rdzv-endpoint");
  }
  if (endpoint->host.empty() || endpoint->port == 0) {
    return base::invalid_argument("--rdzv-endpoint: expected host:port, got '{}'",
                                  options.rdzv_endpoint);
  }
  return base::OkStatus();
}

std::string signal_name(int number) {
  const char* name = sigabbrev_np(number);
  return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(number);
}

}  // namespace gamelan::launch
