#pragma once

// Command lines of the gamelan programs: CLI11, plus `_` for `-` in option names, a suggestion for
// unknown options, and the exit codes that all verbs share.

#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace gamelan::cli {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

/// The program's arguments without its name.
std::vector<std::string> arguments_of(int argc, char** argv);

/// Sets what every verb's help begins with: one runnable example, then what the verb does.
void describe(CLI::App& app, const std::string& example, const std::string& what);

/// Parses `arguments` into the variables bound to `app`. Returns nullopt when the caller should go
/// on, else the exit code: help was asked for (0) or the usage is wrong (2); what there is to say
/// was printed.
///
/// With `rest`, the first argument that is no option begins another program's command line, which
/// goes there untouched.
std::optional<int> parse(CLI::App& app, const std::vector<std::string>& arguments,
                         std::vector<std::string>* rest = nullptr);

/// Replaces names that CLI11 does not know, such as short ones of several letters ("-tp 2",
/// "-tp=2"), by the names that they stand for.
std::vector<std::string> replace_names(std::vector<std::string> arguments,
                                       const std::map<std::string, std::string>& names);

/// Prints "verb: message" and where to find help; returns kExitUsage.
int usage_error(const CLI::App& app, std::string_view message);

/// The candidate closest to `word` by edit distance, when it is close enough to be what was meant.
std::optional<std::string> closest(std::string_view word,
                                   const std::vector<std::string>& candidates);

}  // namespace gamelan::cli
