#include "bench/kernels/run_options.h"

#include <fmt/format.h>

#include "kernels/cpu/isa.h"

namespace gamelan::bench {

void add_run_options(CLI::App& app, RunOptions& options) {
  app.add_option("--threads", options.threads, "Threads, each bound to a CPU");
  app.add_option("--rounds", options.rounds, "Repetitions; the median is printed");
  app.add_flag("--json", options.json, "Print figures for programs");
}

std::string describe(const Machine& machine, const RunOptions& options) {
  return fmt::format("{}; level {}; {} threads", describe(machine),
                     kernels::cpu::name_of(kernels::cpu::isa_level()), options.threads);
}

void print_json(const Machine& machine, const RunOptions& options, std::string_view name,
                const nlohmann::json& rows) {
  const nlohmann::json figures = {{"machine", to_json(machine)},
                                  {"level", kernels::cpu::name_of(kernels::cpu::isa_level())},
                                  {"threads", options.threads},
                                  {name, rows}};
  fmt::print("{}\n", figures.dump(2));
}

}  // namespace gamelan::bench
