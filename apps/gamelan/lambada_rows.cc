#include "gamelan/lambada_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/json_file.h"
#include "io/line_reader.h"

namespace gamelan::apps {

base::StatusOr<std::vector<LambadaRow>> load_lambada(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(io::LineReader reader, io::LineReader::open(path));
  std::vector<LambadaRow> rows;
  std::string line;
  for (;;) {
    GAMELAN_ASSIGN_OR_RETURN(const bool more, reader.next(line));
    if (!more) {
      break;
    }
    const std::string where = fmt::format("{}:{}", path, reader.line_number());
    GAMELAN_ASSIGN_OR_RETURN(const nlohmann::json object, io::parse_json(line, where));
    io::JsonReader fields(object, where);
    const std::string text = fields.string("text", {});
    GAMELAN_RETURN_IF_ERROR(fields.status());
    const std::size_t space = text.rfind(' ');
    if (space == text.npos || space == 0 || space + 1 == text.size()) {
      return base::invalid_argument("{}: expected a text and a last word behind a space, got '{}'",
                                    where, text.substr(0, 60));
    }
    rows.push_back({text.substr(0, space), text.substr(space)});
  }
  if (rows.empty()) {
    return base::invalid_argument("{}: has no lines", path);
  }
  return rows;
}

LambadaTokens tokenize_row(const text::Tokenizer& tokenizer, const LambadaRow& row) {
  LambadaTokens tokens;
  tokens.input = tokenizer.encode(row.input);
  // A tokenizer may end a text with a token of its own, behind which nothing can be continued.
  const std::vector<text::TokenId> bare = tokenizer.encode(row.input, false);
  const auto at = std::search(tokens.input.begin(), tokens.input.end(), bare.begin(), bare.end());
  if (at != tokens.input.end()) {
    tokens.input.erase(at + static_cast<std::ptrdiff_t>(bare.size()), tokens.input.end());
  }
  tokens.target = tokenizer.encode(row.target, false);
  return tokens;
}

}  // namespace gamelan::apps
