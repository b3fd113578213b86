#pragma once

#include <string_view>

#include "base/status.h"
#include "io/bert_config.h"
#include "text/word_piece_tokenizer.h"

namespace gamelan::io {

/// config.json of `folder`.
base::StatusOr<BertConfig> load_bert_config_of_folder(std::string_view folder);

/// Writes everything but the weights of a BertForSequenceClassification into `folder`, which is
/// created when missing: config.json, vocab.txt, tokenizer.json, tokenizer_config.json,
/// special_tokens_map.json. With model.safetensors beside them (metadata {"format": "pt"})
/// AutoTokenizer and AutoModelForSequenceClassification load the folder.
base::Status save_bert_folder(std::string_view folder, const BertConfig& config,
                              const text::WordPieceTokenizer& tokenizer);

}  // namespace gamelan::io
