#include "text/split_behavior.h"

namespace gamelan::text {
namespace {

std::string_view joined(std::string_view first, std::string_view second) {
  return {first.data(), first.size() + second.size()};
}

/// Whether `part` becomes one piece with the part `before` it.
bool joins(const SplitPart& before, const SplitPart& part, SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::kMergedWithPrevious:
      return part.matched && !before.matched;
    case SplitBehavior::kMergedWithNext:
      return before.matched && !part.matched;
    case SplitBehavior::kContiguous:
      return before.matched == part.matched;
    case SplitBehavior::kRemoved:
    case SplitBehavior::kIsolated:
      break;
  }
  return false;
}

}  // namespace

void give_pieces(const std::vector<SplitPart>& parts, SplitBehavior behavior, bool at_start,
                 PieceSink& sink) {
  const char* const begin = parts.empty() ? nullptr : parts.front().text.data();
  for (std::size_t i = 0; i < parts.size();) {
    std::string_view piece = parts[i].text;
    const bool removed = behavior == SplitBehavior::kRemoved && parts[i].matched;
    std::size_t next = i + 1;
    while (next < parts.size() && joins(parts[next - 1], parts[next], behavior)) {
      piece = joined(piece, parts[next].text);
      ++next;
    }
    i = next;
    if (!removed && !piece.empty()) {
      sink.piece(piece, at_start && piece.data() == begin);
    }
  }
}

}  // namespace gamelan::text
