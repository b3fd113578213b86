#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace gamelan::infer {

/// Proposes tokens that may follow `tokens` (prompt look-up decoding, Saxena 2023): what followed
/// the last `ngram` tokens where they stood before, else the last ngram - 1, and so on. Of several
/// places the latest one with `count` tokens after it counts, or, when there is none, the one with
/// the most. `proposals` gets at most `count` tokens; none when nothing repeats.
void look_up(std::span<const text::TokenId> tokens, int ngram, std::int64_t count,
             std::vector<text::TokenId>& proposals);

}  // namespace gamelan::infer
