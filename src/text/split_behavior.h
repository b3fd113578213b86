#pragma once

#include <string_view>
#include <vector>

#include "text/pre_tokenizer.h"

namespace gamelan::text {

/// A part of a text between two borders of a pattern.
struct SplitPart {
  std::string_view text;
  bool matched = false;
};

/// Gives the pieces that `behavior` makes of `parts`, which tile one text in order; empty pieces
/// are left out. `at_start` belongs to the first byte of the text.
void give_pieces(const std::vector<SplitPart>& parts, SplitBehavior behavior, bool at_start,
                 PieceSink& sink);

}  // namespace gamelan::text
