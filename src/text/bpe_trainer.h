#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "text/bpe_encoder.h"
#include "text/piece_counts.h"

namespace gamelan::text {

struct BpeTrainerOptions {
  /// Tokens in all, special ones and single bytes included. Fewer come out when the text has no
  /// more pairs.
  std::size_t vocabulary_size = 30000;
  /// A pair that occurs less often is not merged; 0 and 1 = every pair that occurs.
  std::int64_t min_frequency = 2;
  /// They get the first ids, in this order; of two equal ones the first counts.
  std::vector<std::string> special_tokens;
  /// All 256 bytes are tokens, also those that the text has not: then every text can be encoded.
  bool all_bytes = true;
};

/// Byte-level byte-pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909) of the
/// counted pieces: again and again the most frequent pair of neighbours, of equally frequent ones
/// that of the smallest ids, becomes a token.
///
/// The same vocabulary and merges as BpeTrainer of HuggingFace's `tokenizers` makes of the same
/// text, its peculiarity included: where a merge spells a token that another merge has made
/// already, pairs with that token wait in the queue once more, beside the places found earlier;
/// places are merged when the entry that found them comes up, and the last of a pair's merges
/// counts.
///
/// O(symbols + merged places · log(pairs)) time. kInvalidArgument when the vocabulary has no room
/// for the special tokens and the bytes, or a special token is empty or no UTF-8.
base::StatusOr<BpeVocabulary> train_bpe(const PieceCounts& pieces,
                                        const BpeTrainerOptions& options = {});

}  // namespace gamelan::text
