#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "text/sentence_piece_tokenizer.h"

namespace gamelan::io {

/// Gives the folder `to` the tokenizer at `from` (what load_tokenizer takes) in files that
/// HuggingFace reads: HuggingFace's own are copied; llama2.c's tokenizer.bin and what a GGUF
/// file holds become tokenizer.json and tokenizer_config.json. False when there is none.
base::StatusOr<bool> export_tokenizer(std::string_view from, std::string_view to);

/// tokenizer.json for a BPE model of SentencePiece's kind: the same ids for every text that spells
/// no special token (behind one, the json's tokenizer puts a space that the model does not). Pairs
/// are ordered by the score of what they make, as the model joins them. kUnimplemented for a
/// unigram model, kInvalidArgument when two pieces are spelled the same.
base::StatusOr<std::string> format_sentence_piece_json(const text::SentencePieceModel& model);

}  // namespace gamelan::io
