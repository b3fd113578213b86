#pragma once

// What the benchmarks of kernels have in common.

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "bench/support/machine.h"

namespace gamelan::bench {

struct RunOptions {
  int threads = 2;
  int rounds = 7;
  bool json = false;
};

void add_run_options(CLI::App& app, RunOptions& options);

/// "AMD EPYC ...; level avx2; 2 threads".
std::string describe(const Machine& machine, const RunOptions& options);

/// The figures for programs: the rows of the table `name`, and what they depend on.
void print_json(const Machine& machine, const RunOptions& options, std::string_view name,
                const nlohmann::json& rows);

}  // namespace gamelan::bench
