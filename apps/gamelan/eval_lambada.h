#pragma once

#include <string>
#include <vector>

namespace gamelan::apps {

/// `gamelan eval lambada`: takes the arguments after "lambada", returns the exit code.
int eval_lambada(const std::vector<std::string>& arguments);

}  // namespace gamelan::apps
