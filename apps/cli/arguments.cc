#include "cli/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace gamelan::cli {
namespace {

/// Levenshtein's distance, one row at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::vector<std::string> long_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
  }
  return names;
}

/// "--nproc_per_node=2" -> "--nproc-per-node=2", unless an option is really called the first.
std::string normalize(const CLI::App& app, std::string argument) {
  const std::size_t equal = argument.find('=');
  std::string name = argument.substr(0, equal);
  if (app.get_option_no_throw(name) == nullptr) {
    std::replace(name.begin(), name.end(), '_', '-');
  }
  return equal == std::string::npos ? name : name + argument.substr(equal);
}

std::string unknown_option(const CLI::App& app, const std::string& name) {
  const auto suggestion = closest(name, long_names(app));
  return fmt::format("unknown option {}{}", name,
                     suggestion ? fmt::format("; did you mean {}?", *suggestion) : "");
}

/// What an argument that begins with '-' names: the option, and whether its value is the next
/// argument.
struct Named {
  const CLI::Option* option = nullptr;
  bool value_follows = false;
};

Named look_up(const CLI::App& app, const std::string& argument) {
  const bool is_long = argument.rfind("--", 0) == 0;
  const std::size_t equal = argument.find('=');
  const std::string name = is_long ? argument.substr(0, equal) : argument.substr(0, 2);
  Named named{.option = app.get_option_no_throw(name)};
  const bool value_inside = is_long ? equal != std::string::npos : argument.size() > 2;
  named.value_follows =
      named.option != nullptr && !value_inside && named.option->get_items_expected_max() > 0;
  return named;
}

}  // namespace

std::vector<std::string> arguments_of(int argc, char** argv) {
  return {argv + std::min(argc, 1), argv + argc};
}

void describe(CLI::App& app, const std::string& example, const std::string& what) {
  app.description(fmt::format("Example:\n  {}\n\n{}", example, what));
}

std::optional<std::string> closest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 4) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::vector<std::string> replace_names(std::vector<std::string> arguments,
                                       const std::map<std::string, std::string>& names) {
  for (std::string& argument : arguments) {
    const std::size_t equal = argument.find('=');
    if (const auto found = names.find(argument.substr(0, equal)); found != names.end()) {
      argument = found->second + (equal == std::string::npos ? "" : argument.substr(equal));
    }
  }
  return arguments;
}

int usage_error(const CLI::App& app, std::string_view message) {
  fmt::print(stderr, "{}: {}\n", app.get_name(), message);
  fmt::print(stderr, "Try '{} --help'.\n", app.get_name());
  return kExitUsage;
}

std::optional<int> parse(CLI::App& app, const std::vector<std::string>& arguments,
                         std::vector<std::string>* rest) {
  std::vector<std::string> own;
  std::size_t i = 0;
  while (i < arguments.size()) {
    const std::string& argument = arguments[i];
    const bool is_option = argument.size() > 1 && argument[0] == '-';
    if (argument == "--" || (!is_option && rest != nullptr)) {
      break;
    }
    ++i;
    if (!is_option) {
      own.push_back(argument);
      continue;
    }
    const bool is_long = argument.rfind("--", 0) == 0;
    own.push_back(is_long ? normalize(app, argument) : argument);
    const Named named = look_up(app, own.back());
    if (named.option == nullptr) {
      return usage_error(app, unknown_option(app, own.back().substr(0, own.back().find('='))));
    }
    if (named.value_follows && i < arguments.size()) {
      own.push_back(arguments[i++]);
    }
  }
  if (rest != nullptr) {
    i += i < arguments.size() && arguments[i] == "--" ? 1 : 0;
    rest->assign(arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
  } else {
    own.insert(own.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
  }
  for (CLI::Option* option : app.get_options()) {
    if (option->get_expected_max() == 1) {
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // as Python's argparse
    }
  }
  try {
    std::reverse(own.begin(), own.end());  // CLI11 takes its vector from the back
    app.parse(own);
  } catch (const CLI::Success& help) {
    app.exit(help);
    return kExitDone;
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error.what());
  }
  return std::nullopt;
}

}  // namespace gamelan::cli
