#include "infer/sampling/stop_text.h"

#include <algorithm>
#include <utility>

namespace gamelan::infer {

StopText::StopText(std::vector<std::string> words) : words_(std::move(words)) {
  std::erase(words_, "");
}

std::string StopText::push(std::string_view piece) {
  if (stopped_) {
    return "";
  }
  pending_ += piece;
  std::size_t first = std::string::npos;
  for (const std::string& word : words_) {
    first = std::min(first, pending_.find(word));
  }
  if (first != std::string::npos) {
    stopped_ = true;
    std::string certain = pending_.substr(0, first);
    pending_.clear();
    return certain;
  }
  std::size_t undecided = 0;
  for (const std::string& word : words_) {
    for (std::size_t size = std::min(word.size() - 1, pending_.size()); size > undecided; --size) {
      if (pending_.ends_with(std::string_view(word).substr(0, size))) {
        undecided = size;
      }
    }
  }
  std::string certain = pending_.substr(0, pending_.size() - undecided);
  pending_.erase(0, certain.size());
  return certain;
}

std::string StopText::finish() {
  return std::exchange(pending_, {});
}

}  // namespace gamelan::infer
