// `gamelan`: the light program, without LibTorch. One verb a source file.

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "gamelan/commands.h"

namespace {

constexpr const char* kUsage = R"(Example:
  gamelan run --standalone --nproc-per-node 2 gamelan train --help

Gamelan trains LibTorch models on many processes and machines.

Usage: gamelan VERB [options]

Verbs:
  run      start a program on several processes, of one machine or many (as torchrun)
  train    train a model (runs gamelan-train)
  convert  write a model in another format (as huggingface_bloom_convert.py)
  tokenize turn text into token ids and back, or train a vocabulary
  doctor   say what this machine offers and what Gamelan would use
  help     this text

'gamelan VERB --help' explains a verb.
)";

}  // namespace

int main(int argc, char** argv) {
  using namespace gamelan;
  std::vector<std::string> arguments = cli::arguments_of(argc, argv);
  const std::string verb = arguments.empty() ? "" : arguments.front();
  if (verb.empty()) {
    fmt::print(stderr, "{}", kUsage);
    return cli::kExitUsage;
  }
  arguments.erase(arguments.begin());
  if (verb == "run") {
    return apps::run_command(arguments);
  }
  if (verb == "convert") {
    return apps::convert_command(arguments);
  }
  if (verb == "doctor") {
    return apps::doctor_command(arguments);
  }
  if (verb == "tokenize") {
    return apps::tokenize_command(arguments);
  }
  if (verb == "train") {
    return apps::train_command(arguments);
  }
  if (verb == "help" || verb == "--help" || verb == "-h") {
    fmt::print("{}", kUsage);
    return cli::kExitDone;
  }
  if (verb == "--version") {
    fmt::print("gamelan {}\n", GAMELAN_VERSION);
    return cli::kExitDone;
  }
  const auto meant = cli::closest(
      verb, {"run", "train", "convert", "tokenize", "doctor", "help", "--help", "--version"});
  fmt::print(stderr, "gamelan: unknown verb '{}'{}\n", verb,
             meant ? fmt::format("; did you mean '{}'?", *meant) : "");
  fmt::print(stderr, "Try 'gamelan --help'.\n");
  return cli::kExitUsage;
}
