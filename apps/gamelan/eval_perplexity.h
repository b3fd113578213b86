#pragma once

#include <string>
#include <vector>

namespace gamelan::apps {

/// `gamelan eval perplexity`: takes the arguments after "perplexity", returns the exit code.
int eval_perplexity(const std::vector<std::string>& arguments);

}  // namespace gamelan::apps
