#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/bert_config.h"
#include "io/safetensors.h"
#include "text/word_piece_tokenizer.h"

namespace gamelan::io {

/// The weights of a folder: model.safetensors, or the shards that model.safetensors.index.json
/// names. Views live as long as the object; const methods are thread-safe.
class HuggingFaceWeights {
 public:
  /// Maps every file and checks it, and that the index and the shards agree. Says what to do about
  /// a folder that holds pytorch_model.bin alone.
  static base::StatusOr<HuggingFaceWeights> open(std::string_view folder);

  const std::vector<SafetensorsFile>& files() const { return files_; }
  /// nullptr when no file has it.
  const SafetensorsView* find(std::string_view name) const;

 private:
  std::vector<SafetensorsFile> files_;
};

/// config.json of `folder`.
base::StatusOr<BertConfig> load_bert_config_of_folder(std::string_view folder);

/// Writes everything but the weights of a BertForSequenceClassification into `folder`, which is
/// created when missing: config.json, vocab.txt, tokenizer.json, tokenizer_config.json,
/// special_tokens_map.json. With model.safetensors beside them (metadata {"format": "pt"})
/// AutoTokenizer and AutoModelForSequenceClassification load the folder.
base::Status save_bert_folder(std::string_view folder, const BertConfig& config,
                              const text::WordPieceTokenizer& tokenizer);

}  // namespace gamelan::io
