#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/tokenizer.h"

namespace gamelan::apps {

/// One passage of LAMBADA (Paperno et al. 2016), divided where FasterTransformer's bloom_lambada.py
/// divides it: the target is the last space and the word behind it.
struct LambadaRow {
  std::string input;
  std::string target;
};

/// Reads {"text": …} a line. Errors name file and line.
base::StatusOr<std::vector<LambadaRow>> load_lambada(std::string_view path);

struct LambadaTokens {
  std::vector<text::TokenId> input;
  std::vector<text::TokenId> target;
};

/// The ids of both, as of a pair: the special tokens that begin a text stand before the input, none
/// behind the target.
LambadaTokens tokenize_row(const text::Tokenizer& tokenizer, const LambadaRow& row);

}  // namespace gamelan::apps
