#pragma once

// The files that describe a BERT tokenizer: vocab.txt, tokenizer.json, tokenizer_config.json,
// special_tokens_map.json (docs/formats/huggingface_folder.md).

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"
#include "text/word_piece_tokenizer.h"

namespace gamelan::io {

/// The tokens of a vocab.txt, one a line, into `model.tokens`; the rest of the model is as it is by
/// default (uncased). Fails on invalid UTF-8 and on what is over the limits, naming the line.
base::StatusOr<text::WordPieceModel> parse_vocab_txt(std::string_view text, std::string_view name);

/// A tokenizer.json of model type WordPiece with BertNormalizer and BertPreTokenizer. Truncation
/// and padding that are baked into the file are ignored: they belong to the call. Anything that
/// would change ids and is not supported is refused by name.
base::StatusOr<text::WordPieceModel> parse_tokenizer_json(std::string_view text,
                                                          std::string_view name);

/// Applies a tokenizer_config.json (do_lower_case, strip_accents, tokenize_chinese_chars, the names
/// of the special tokens) to `model`.
base::Status apply_tokenizer_config(std::string_view text, std::string_view name,
                                    text::WordPieceModel& model);

/// The tokenizer of a folder: tokenizer.json when there is one, else vocab.txt with
/// tokenizer_config.json; or of a single vocab.txt or tokenizer.json when `path` is a file.
base::StatusOr<text::WordPieceTokenizer> load_word_piece_tokenizer(std::string_view path);

/// Writes the four files into `folder`, each atomically. `model_max_length` is the most ids the
/// model takes.
base::Status save_tokenizer_files(std::string_view folder,
                                  const text::WordPieceTokenizer& tokenizer,
                                  std::size_t model_max_length);

}  // namespace gamelan::io
