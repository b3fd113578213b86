#pragma once

#include <memory>

#include "text/tokenizer.h"
#include "text/word_piece_tokenizer.h"

namespace gamelan::text {

/// BERT's tokenizer behind the interface of the others.
std::unique_ptr<Tokenizer> make_tokenizer(WordPieceTokenizer tokenizer);

}  // namespace gamelan::text
