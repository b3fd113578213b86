#pragma once

#include <string>
#include <vector>

namespace gamelan::apps {

/// Each runs one verb of `gamelan train` and returns the program's exit code.
int bert_classify_command(const std::vector<std::string>& arguments);
int lm_command(const std::vector<std::string>& arguments);
int bert_predict_command(const std::vector<std::string>& arguments);

}  // namespace gamelan::apps
