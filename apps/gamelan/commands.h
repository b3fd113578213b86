#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gamelan::apps {

/// The verbs of `gamelan`. Each takes the arguments after its name and returns the exit code.
int run_command(const std::vector<std::string>& arguments);
int doctor_command(const std::vector<std::string>& arguments);
int eval_command(const std::vector<std::string>& arguments);
int classify_command(const std::vector<std::string>& arguments);
int embed_command(const std::vector<std::string>& arguments);
int convert_command(const std::vector<std::string>& arguments);
int tokenize_command(const std::vector<std::string>& arguments);
int bench_command(const std::vector<std::string>& arguments);
int generate_command(const std::vector<std::string>& arguments);
int train_command(const std::vector<std::string>& arguments);

/// The path of a program of this installation, which lies beside this one; empty when it is not
/// there.
std::string sibling_program(std::string_view name);

}  // namespace gamelan::apps
