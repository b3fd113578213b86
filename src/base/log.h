#pragma once

// Logging through spdlog: `base::log().info("joined as rank {}", rank)`. Diagnostics go to stderr; what
// a user asked for (losses, accuracies, tables) is printed to stdout, not logged.

#include <spdlog/spdlog.h>

#include <string_view>

namespace gamelan::base {

/// The process's logger. Thread-safe. Level from GAMELAN_LOG_LEVEL (trace, debug, info, warn, error;
/// default info), read at first use.
spdlog::logger& log();

/// Puts `prefix` (for example "rank 3") into every later line; call once, from main.
void set_log_prefix(std::string_view prefix);

}  // namespace gamelan::base
