#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "cli/arguments.h"
#include "gamelan/commands.h"

namespace gamelan::apps {

std::string sibling_program(std::string_view name) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return {};
  }
  const std::string path = self.parent_path() / name;
  return access(path.c_str(), X_OK) == 0 ? path : std::string();
}

int train_command(const std::vector<std::string>& arguments) {
  const std::string program = sibling_program("gamelan-train");
  if (program.empty()) {
    fmt::print(
        stderr,
        "gamelan train: expected the program gamelan-train beside gamelan, found none; it is "
        "built when LibTorch is there (GAMELAN_BUILD_TRAIN)\n");
    return cli::kExitFailed;
  }
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  fmt::print(stderr, "gamelan train: exec {}: {}\n", program, std::strerror(errno));
  return cli::kExitFailed;
}

}  // namespace gamelan::apps
