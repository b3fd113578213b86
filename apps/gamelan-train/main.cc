// `gamelan-train`: everything that needs LibTorch. `gamelan train VERB` runs it. One verb a source
// file.

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "base/memory.h"
#include "cli/arguments.h"
#include "gamelan-train/commands.h"

namespace {

constexpr const char* kUsage = R"(Example:
  gamelan train bert-classify --model-name-or-path minilm --train-file train.tsv --output-dir out

Trains models with LibTorch: on one process, or on many under 'gamelan run'.

Usage: gamelan train VERB [options]

Verbs:
  bert-classify   fine-tune BERT to classify texts
  bert-predict    classify texts with what bert-classify saved
  lm              train a causal language model (BLOOM, GPT-2) on a text file

'gamelan train VERB --help' explains a verb.
)";

int run(const std::string& verb, const std::vector<std::string>& arguments) {
  using namespace gamelan;
  if (verb == "bert-classify") {
    return apps::bert_classify_command(arguments);
  }
  if (verb == "bert-predict") {
    return apps::bert_predict_command(arguments);
  }
  if (verb == "lm") {
    return apps::lm_command(arguments);
  }
  if (verb == "help" || verb == "--help" || verb == "-h") {
    fmt::print("{}", kUsage);
    return cli::kExitDone;
  }
  const auto meant = cli::closest(verb, {"bert-classify", "bert-predict", "lm", "help", "--help"});
  fmt::print(stderr, "gamelan train: unknown verb '{}'{}\n", verb,
             meant ? fmt::format("; did you mean '{}'?", *meant) : "");
  fmt::print(stderr, "Try 'gamelan train --help'.\n");
  return cli::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace gamelan;
  // A reader that has gone must not kill a training: writes fail instead.
  std::signal(SIGPIPE, SIG_IGN);
  base::keep_freed_memory();  // every step allocates the same blocks again
  std::vector<std::string> arguments = cli::arguments_of(argc, argv);
  if (arguments.empty()) {
    fmt::print(stderr, "{}", kUsage);
    return cli::kExitUsage;
  }
  const std::string verb = arguments.front();
  arguments.erase(arguments.begin());
  return run(verb, arguments);
}
