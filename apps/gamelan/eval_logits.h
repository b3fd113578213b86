#pragma once

#include <string>
#include <vector>

namespace gamelan::apps {

/// `gamelan eval logits`: takes the arguments after "logits", returns the exit code.
int eval_logits(const std::vector<std::string>& arguments);

}  // namespace gamelan::apps
