#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/bpe_encoder.h"
#include "text/split_patterns.h"

namespace gamelan::io {

/// What a byte-level tokenizer's files say besides the vocabulary.
struct BpeFilesOptions {
  /// What the tokens are for; empty = there is none. Each must be in the vocabulary.
  std::string bos_token;
  std::string eos_token;
  std::string unk_token;
  std::string pad_token;
  /// Further special tokens. Like the above they are found in the text before merging.
  std::vector<std::string> special_tokens;
  /// Tokens that are found before merging, too, and are not special.
  std::vector<std::string> added_tokens;
  /// What the pieces are that merges stay within.
  text::SplitPattern pattern = text::SplitPattern::kGpt2;
  /// Text is brought into Unicode's form C first.
  bool nfc = false;
  /// bos_token stands before a text, eos_token behind it.
  bool add_bos_token = false;
  bool add_eos_token = false;
  /// The most ids that the model takes; 0 = not said.
  std::size_t model_max_length = 0;
};

/// Every special token once: unk, bos, eos, pad, then the further ones. The order of BLOOM's ids.
std::vector<std::string> special_tokens_of(const BpeFilesOptions& options);

/// Writes tokenizer.json (a byte-level BPE without a blank in front of a text) and
/// tokenizer_config.json into `folder`, which must exist, each atomically. AutoTokenizer and
/// io::load_tokenizer load them. kInvalidArgument, naming the token, when a special token is not in
/// the vocabulary.
base::Status save_bpe_files(std::string_view folder, const text::BpeVocabulary& vocabulary,
                            const BpeFilesOptions& options);

}  // namespace gamelan::io
