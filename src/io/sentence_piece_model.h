#pragma once

// SentencePiece's .model files (docs/formats/sentence_piece.md).

#include <memory>
#include <string_view>

#include "base/status.h"
#include "text/sentence_piece_tokenizer.h"

namespace gamelan::io {

/// The fields of a ModelProto that encoding needs. kDataLoss where the bytes are no such message,
/// kUnimplemented for the model types word and char. No special tokens are added around a text.
base::StatusOr<text::SentencePieceModel> parse_sentence_piece_model(std::string_view bytes,
                                                                    std::string_view name);

/// The tokenizer of one .model file, as the sentencepiece library.
base::StatusOr<std::unique_ptr<text::Tokenizer>> load_sentence_piece_tokenizer(
    std::string_view path);

}  // namespace gamelan::io
