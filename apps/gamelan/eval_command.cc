#include <fmt/format.h>

#include <cstdio>

#include "cli/arguments.h"
#include "gamelan/commands.h"
#include "gamelan/eval_lambada.h"
#include "gamelan/eval_logits.h"
#include "gamelan/eval_perplexity.h"

namespace gamelan::apps {
namespace {

constexpr const char* kUsage = R"(Example:
  gamelan eval lambada --checkpoint-path DIR --dataset-path lambada_test.jsonl

Measures what a model says.

Usage: gamelan eval WHAT [options]

What:
  lambada     predict the last words of passages (as bloom_lambada.py)
  logits      write a model's logits (or an encoder's hidden states) to a NumPy file
  perplexity  measure how well a model foretells a text

'gamelan eval WHAT --help' explains one.
)";

}  // namespace

int eval_command(const std::vector<std::string>& arguments) {
  const std::string what = arguments.empty() ? "" : arguments.front();
  if (what == "lambada") {
    return eval_lambada({arguments.begin() + 1, arguments.end()});
  }
  if (what == "logits") {
    return eval_logits({arguments.begin() + 1, arguments.end()});
  }
  if (what == "perplexity") {
    return eval_perplexity({arguments.begin() + 1, arguments.end()});
  }
  if (what == "--help" || what == "-h" || what == "help") {
    fmt::print("{}", kUsage);
    return cli::kExitDone;
  }
  if (what.empty()) {
    fmt::print(stderr, "{}", kUsage);
    return cli::kExitUsage;
  }
  fmt::print(stderr,
             "gamelan eval: expected lambada, logits or perplexity, got '{}'\nTry 'gamelan eval "
             "--help'.\n",
             what);
  return cli::kExitUsage;
}

}  // namespace gamelan::apps
