// `gamelan`: the light program, without LibTorch. One verb a source file.

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "cli/arguments.h"
#include "gamelan/commands.h"

namespace {

using namespace gamelan;

struct Verb {
  std::string_view name;
  std::string_view what;
  int (*run)(const std::vector<std::string>& arguments);
};

constexpr std::array kVerbs = {
    Verb{"run", "start a program on several processes, of one machine or many (as torchrun)",
         apps::run_command},
    Verb{"train", "train a model (runs gamelan-train)", apps::train_command},
    Verb{"generate", "continue a text with a model", apps::generate_command},
    Verb{"bench", "measure how fast a model runs on this machine", apps::bench_command},
    Verb{"eval", "measure what a model says", apps::eval_command},
    Verb{"embed", "turn texts into vectors with a BERT folder", apps::embed_command},
    Verb{"classify", "classify texts with a BERT folder", apps::classify_command},
    Verb{"convert", "write a model in another format (as huggingface_bloom_convert.py)",
         apps::convert_command},
    Verb{"tokenize", "turn text into token ids and back, or train a vocabulary",
         apps::tokenize_command},
    Verb{"doctor", "say what this machine offers and what Gamelan would use", apps::doctor_command},
};

std::string usage() {
  std::string text =
      "Example:\n"
      "  gamelan run --standalone --nproc-per-node 2 gamelan train --help\n"
      "\n"
      "Gamelan trains LibTorch models on many processes and machines, and runs transformer "
      "models.\n"
      "\n"
      "Usage: gamelan VERB [options]\n"
      "\n"
      "Verbs:\n";
  for (const Verb& verb : kVerbs) {
    text += fmt::format("  {:<10}{}\n", verb.name, verb.what);
  }
  return text + "  help      this text\n\n'gamelan VERB --help' explains a verb.\n";
}

int unknown_verb(const std::string& name) {
  std::vector<std::string> known = {"help", "--help", "--version"};
  for (const Verb& verb : kVerbs) {
    known.emplace_back(verb.name);
  }
  const auto meant = cli::closest(name, known);
  fmt::print(stderr, "gamelan: unknown verb '{}'{}\n", name,
             meant ? fmt::format("; did you mean '{}'?", *meant) : "");
  fmt::print(stderr, "Try 'gamelan --help'.\n");
  return cli::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments = cli::arguments_of(argc, argv);
  if (arguments.empty()) {
    fmt::print(stderr, "{}", usage());
    return cli::kExitUsage;
  }
  const std::string name = arguments.front();
  arguments.erase(arguments.begin());
  for (const Verb& verb : kVerbs) {
    if (verb.name == name) {
      return verb.run(arguments);
    }
  }
  if (name == "help" || name == "--help" || name == "-h") {
    fmt::print("{}", usage());
    return cli::kExitDone;
  }
  if (name == "--version") {
    fmt::print("gamelan {}\n", GAMELAN_VERSION);
    return cli::kExitDone;
  }
  return unknown_verb(name);
}
