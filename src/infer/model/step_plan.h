#pragma once

#include <cstdint>
#include <vector>

#include "text/tokenizer.h"

namespace gamelan::infer {

/// The share of one sequence in a step: `tokens` of StepPlan::tokens, at positions position …
/// position + tokens - 1 of the sequence.
struct StepSequence {
  std::int32_t tokens = 0;
  std::int32_t position = 0;
  /// How many of its last tokens get logits: 0 for a chunk of a prompt that is not its end.
  std::int32_t logits = 1;
  /// Its block table: entries first_block … first_block + block_count - 1 of StepPlan::blocks;
  /// enough for position + tokens.
  std::int32_t first_block = 0;
  std::int32_t block_count = 0;
};

/// Copies a block of the cache (in every layer) before the step's tokens are written.
struct BlockCopy {
  std::int32_t from = 0;
  std::int32_t to = 0;
};

/// Everything that a step computes, decided by the engine and the same on every rank of a parallel
/// model: rank 0 broadcasts it. Plain numbers, ragged, nothing padded.
struct StepPlan {
  std::vector<text::TokenId> tokens;    // sequence after sequence
  std::vector<StepSequence> sequences;  // in the order of `tokens`
  std::vector<std::int32_t> blocks;     // block tables, one after the other
  std::vector<BlockCopy> copies;        // done first, in order

  std::int64_t logit_rows() const {
    std::int64_t rows = 0;
    for (const StepSequence& sequence : sequences) {
      rows += sequence.logits;
    }
    return rows;
  }
};

}  // namespace gamelan::infer
