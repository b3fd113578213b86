// What a program sees of `gamelan run`: its place among the others, and how often it was restarted.
//
//   gamelan run --standalone --nproc-per-node 4 build/dev/examples/hello_ranks/hello_ranks
//
// Any program can be launched like this; a job of several processes meets at
// MASTER_ADDR:MASTER_PORT.

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/progress_bar.h"

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "(unset)";
}

}  // namespace

int main() {
  if (variable("RANK") == "(unset)") {
    fmt::print(stderr,
               "hello_ranks: expected RANK in the environment; start it by 'gamelan run'\n");
    return 1;
  }
  // Rank 0 has the terminal, if there is one: it shows a bar, the others nothing.
  {
    gamelan::base::ProgressBar bar({.title = "greeting",
                                    .total = 5,
                                    .unit = "line",
                                    .enabled = variable("RANK") == "0",
                                    .redraw_interval = {}});
    for (int i = 0; i < 5; ++i) {
      bar.advance();
    }
  }
  fmt::print(
      "hello from rank {} of {} (local rank {} of {}, node {} of {}), attempt {}, meeting at "
      "{}:{}\n",
      variable("RANK"), variable("WORLD_SIZE"), variable("LOCAL_RANK"),
      variable("LOCAL_WORLD_SIZE"), variable("GROUP_RANK"), variable("GROUP_WORLD_SIZE"),
      variable("TORCHELASTIC_RESTART_COUNT"), variable("MASTER_ADDR"), variable("MASTER_PORT"));
  return 0;
}
