#include "launch/failure.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launch/options.h"

namespace gamelan::launch {
namespace {

constexpr std::size_t kMaxErrorFileBytes = 1 << 20;
constexpr std::size_t kMaxMessageBytes = 4096;

std::string shorten(std::string text) {
  if (text.size() > kMaxMessageBytes) {
    text.resize(kMaxMessageBytes);
    text += "...";
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
    text.pop_back();
  }
  return text;
}

/// Follows "message" members down to the first string.
std::string find_message(const nlohmann::json& value, int depth = 0) {
  if (value.is_string()) {
    return value.get<std::string>();
  }
  if (value.is_object() && value.contains("message") && depth < 4) {
    return find_message(value["message"], depth + 1);
  }
  return {};
}

std::string time_text(std::int64_t time_us) {
  const std::time_t seconds = time_us / 1'000'000;
  std::tm parts{};
  localtime_r(&seconds, &parts);
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03}", parts, time_us / 1000 % 1000);
}

void append_indented(std::string& out, std::string_view text) {
  std::stringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    out += "      " + line + "\n";
  }
}

}  // namespace

std::string read_error_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return {};
  }
  std::string text(kMaxErrorFileBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_discarded()) {
    const std::string message = find_message(json);
    if (!message.empty()) {
      return shorten(message);
    }
  }
  return shorten(text);
}

std::string how_it_ended(const Failure& failure) {
  if (failure.signal != 0) {
    return fmt::format("was killed by signal {} ({})", failure.signal, signal_name(failure.signal));
  }
  return fmt::format("exited with code {}", failure.exit_code);
}

std::string describe(const Failure& failure) {
  if (failure.rank < 0) {
    return fmt::format("node {} '{}': {}", failure.node_rank, failure.host, failure.message);
  }
  return fmt::format("rank {} (local rank {}, node {} '{}', pid {}) {}", failure.rank,
                     failure.local_rank, failure.node_rank, failure.host, failure.pid,
                     how_it_ended(failure));
}

std::string summarize(std::string_view headline, const std::vector<Failure>& failures) {
  std::string out = fmt::format("{}\n", headline);
  for (std::size_t i = 0; i < failures.size(); ++i) {
    const Failure& failure = failures[i];
    if (i == 1) {
      out += "  other failures:\n";
    }
    out += fmt::format("  {}{} at {}\n", i == 0 ? "root cause: " : "  ", describe(failure),
                       time_text(failure.time_us));
    if (failure.rank >= 0 && !failure.message.empty()) {
      append_indented(out, failure.message);
    }
    if (!failure.log.empty()) {
      out += fmt::format("      logs: {}\n", failure.log);
    }
  }
  out.pop_back();
  return out;
}

}  // namespace gamelan::launch
