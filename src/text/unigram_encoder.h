#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/byte_level.h"
#include "text/subword_encoder.h"
#include "text/unigram.h"

namespace gamelan::text {

/// What tokenizer.json says of a model of type Unigram.
struct UnigramVocabulary {
  std::vector<std::string> tokens;
  std::vector<double> scores;  // as many
  /// Negative: there is none, and what is not known vanishes.
  TokenId unk_id = -1;
  /// A run of unknown characters becomes <0xXX> for each of its bytes, if all of these exist.
  bool byte_fallback = false;
  /// Tokens are spelled in GPT-2's byte alphabet, pieces are plain bytes.
  bool byte_level = false;
};

/// Unigram segmentation as HuggingFace's `tokenizers`, where a run of unknown characters is one
/// token. Immutable; thread-safe.
class UnigramEncoder : public SubwordEncoder {
 public:
  explicit UnigramEncoder(const UnigramVocabulary& vocabulary);

  void append(std::string_view piece, std::vector<TokenId>& ids) const override;

 private:
  void append_unknown(std::string_view run, std::vector<TokenId>& ids) const;

  Unigram unigram_;
  TokenId unknown_;
  bool byte_level_;
  ByteTokens byte_ids_ = {};  // all negative without byte fallback
};

}  // namespace gamelan::text
