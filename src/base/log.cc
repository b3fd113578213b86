#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <cstdlib>
#include <memory>
#include <string>

namespace gamelan::base {
namespace {

std::shared_ptr<spdlog::logger> make_logger() {
  auto logger = std::make_shared<spdlog::logger>(
      "gamelan", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("[%H:%M:%S.%e] [%^%l%$] %v");
  const char* level = std::getenv("GAMELAN_LOG_LEVEL");
  logger->set_level(level != nullptr ? spdlog::level::from_str(level) : spdlog::level::info);
  logger->flush_on(spdlog::level::info);
  return logger;
}

}  // namespace

spdlog::logger& log() {
  // Leaked on purpose: threads may log while statics are destroyed.
  static auto* logger = new std::shared_ptr<spdlog::logger>(make_logger());
  return **logger;
}

void set_log_prefix(std::string_view prefix) {
  log().set_pattern(fmt::format("[%H:%M:%S.%e] [{}] [%^%l%$] %v", prefix));
}

}  // namespace gamelan::base
